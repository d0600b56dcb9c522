"""Numpy and scipy multiply matrices on one thread.

Threads that multiply small matrices wait for one another longer than they compute, above all on a busy machine; and
sums that threads split have other last digits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread of the linear algebra of numpy and scipy; also a decorator."""
    with _linear_algebra().limit(limits=1, user_api="blas"):
        yield


@cache
def _linear_algebra() -> ThreadpoolController:
    import scipy.linalg  # its library has to be loaded to be found

    # The libraries take their working memory when they first compute, and ask for it without end where there is none.
    one = np.eye(2)
    scipy.linalg.solve(one @ one, one)
    return ThreadpoolController()
