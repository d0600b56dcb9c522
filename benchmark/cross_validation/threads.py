"""How many threads compute a fold: so many that its numbers follow from the data, never from the machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ...survival.linear_algebra import one_thread
from ..cohort_data import CohortData
from ..experiment import Experiment


def threads_for(experiment: Experiment, data: CohortData) -> int:
    """Threads for one step's arithmetic on a CPU: one where a batch has few patches, two where it has many.

    A batch of few patches is thousands of small operations, at the end of each of which threads wait for one another:
    two are a quarter faster than one on an idle machine, and ten times slower on a busy one. Sums are split by threads,
    so that their number moves last digits: it follows from the data, never from the machine, nor from what else runs.
    """
    if experiment.recipe is None or data.bags is None:
        return 1
    if experiment.device != "cpu":
        return 2
    ids = [patient.id for patient in data.units.labels.patients]
    typical = float(np.median([data.bags.tokens(i) for i in ids])) * min(experiment.recipe.batch, len(ids))
    return 2 if typical > 10_000 else 1


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many threads of torch, and one of the linear algebra of numpy and scipy."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with one_thread():
            yield
    finally:
        torch.set_num_threads(before)
