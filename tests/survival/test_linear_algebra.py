"""Matrices are multiplied on one thread, and afterwards on as many as before."""

from milsurv.survival.linear_algebra import one_thread
from threadpoolctl import threadpool_info


def blas():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_matrices_are_multiplied_on_one_thread_and_afterwards_as_before():
    with one_thread():
        pass  # loads what has threads
    before = blas()
    with one_thread():
        assert set(blas()) == {1}
    assert blas() == before
