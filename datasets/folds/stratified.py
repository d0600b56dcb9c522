"""Folds and validation splits with events spread evenly, at the level of patients."""

from collections.abc import Iterable, Sequence

import numpy as np

from ...errors import DataError
from ...files import fingerprint
from ..labels.read import Labels
from ..split import Folds, Split


def stratified_folds(labels: Labels, k: int = 5, seed: int = 0, repeats: int = 1) -> Folds:
    """`k` folds of patients in which events, follow-up and sizes are balanced; every patient is tested once.

    Patients are sorted by event and then time and assigned to folds round-robin, each round in random order, so that
    events per fold differ by at most one and early and late times spread over all folds. With `repeats`, they
    are divided again in another random order, and the folds are numbered on, see `Folds`; the first repeat is the
    same as without. Raises DataError for fewer events than folds: a fold without events cannot be scored.
    """
    check_folds(labels, k, repeats)
    tests = [test for repeat in range(repeats) for test in _assign(labels, k, _generator(seed, k, repeat))]
    splits = splits_of(labels, tests)
    return Folds(
        name_of("stratified", k, seed, repeats), splits, (), fingerprint_of(splits), "stratified", repeats, seed
    )


def check_folds(labels: Labels, k: int, repeats: int) -> None:
    """Refuse numbers of folds that cannot be made: ValueError below 2 (1 for repeats), DataError for few events."""
    if k < 2:
        raise ValueError(f"k is the number of folds, at least 2, not {k}")
    if repeats < 1:
        raise ValueError(f"repeats is at least 1, not {repeats}")
    events = sum(patient.event for patient in labels.patients)
    if events < k:
        remedy = f"use at most {events} folds" if events > 1 else "a cohort needs deaths to be divided"
        raise DataError(f"{labels.source}: {events} events are too few for {k} folds: {remedy}.")


def name_of(kind: str, k: int, seed: int, repeats: int) -> str:
    """What generated folds are called: stratified-5-seed0, stratified-5x3-seed0."""
    return f"{kind}-{k}{f'x{repeats}' if repeats > 1 else ''}-seed{seed}"


def splits_of(labels: Labels, tests: Sequence[Iterable[str]]) -> tuple[Split, ...]:
    """Splits whose test sets are `tests` in turn and whose training sets are everybody else."""
    everybody = sorted(patient.id for patient in labels.patients)
    sets = [frozenset(test) for test in tests]
    return tuple(
        Split(fold, tuple(i for i in everybody if i not in test), (), tuple(sorted(test)))
        for fold, test in enumerate(sets)
    )


def _generator(seed: int, k: int, repeat: int) -> np.random.Generator:
    return np.random.default_rng([seed, k, repeat] if repeat else [seed, k])


def _assign(labels: Labels, k: int, rng: np.random.Generator) -> list[list[str]]:
    events = sum(patient.event for patient in labels.patients)
    order = sorted(labels.patients, key=lambda p: (not p.event, p.time, p.id))
    tests: list[list[str]] = [[] for _ in range(k)]
    # Each round starts with the folds that have fewest patients so far: sizes differ by one at most.
    for start, stop in _rounds(len(order), events, k):
        sizes = np.array([len(test) for test in tests])
        seats = np.lexsort((rng.random(k), sizes))[: stop - start]
        for patient, seat in zip(order[start:stop], rng.permutation(seats), strict=True):
            tests[seat].append(patient.id)
    return tests


def _rounds(total: int, events: int, k: int) -> list[tuple[int, int]]:
    """Consecutive ranges of at most k: the events first, then the censored."""
    return [
        (i, min(i + k, end))
        for begin, end in ((0, events), (events, total))
        for i in range(begin, end, k)
    ]  # fmt: skip


def cut_validation(
    train_ids: Iterable[str], labels: Labels, fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cut a validation split from the training patients: (train, val), events in both, independent of order.

    The share of `fraction` is taken from those who died and from the censored apart. Raises DataError with
    fewer than two events, since each side needs one, and for ids without a label.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, not {fraction}")
    by_id = labels.by_id
    ids = sorted(set(train_ids))
    unknown = [i for i in ids if i not in by_id]
    if unknown:
        raise DataError(f"{labels.source} has no label for {unknown[0]} and {len(unknown) - 1} more.")
    rng = np.random.default_rng([seed, len(ids)])
    died = [i for i in ids if by_id[i].event]
    censored = [i for i in ids if not by_id[i].event]
    if len(died) < 2:
        raise DataError(
            f"{labels.source}: the training set has {len(died)} events; two are the least from which a "
            "validation split can be cut."
        )
    val: set[str] = set()
    for group, least in ((died, 1), (censored, 0)):
        size = min(max(round(fraction * len(group)), least), max(len(group) - 1, 0))
        val |= {group[j] for j in rng.permutation(len(group))[:size]}
    return tuple(i for i in ids if i not in val), tuple(sorted(val))


def fingerprint_of(splits: Iterable[Split]) -> str:
    """The fingerprint of folds: who is in which set of which fold."""
    return fingerprint([s.fold, sorted(s.train), sorted(s.val), sorted(s.test)] for s in splits)
