"""Site-preserving folds: no tissue source site in two test sets, with events and patients as even as sites allow.

Slides of one hospital share stain and scanner, and hospitals differ in their patients, so that a model can gain by
recognising the hospital (Howard et al., Nature Communications 2021, who divide sites by quadratic programming).
Here sites are assigned greedily, largest first, and then moved and swapped by simulated annealing with a fixed seed.
"""

from collections import defaultdict
from collections.abc import Callable
from math import exp

import numpy as np

from ...errors import DataError
from ..findings import Finding, finding
from ..labels.read import Labels
from ..split import Folds, Split
from .stratified import check_folds, fingerprint_of, name_of, splits_of, stratified_folds

Weights = list[tuple[int, int]]  # events and patients of each site
Cost = Callable[[list[int]], float]  # of the events and patients of one fold

STARTS = 6
STEPS = 20_000
"""Per start. 1,000 patients of 200 sites take about a second; on the TCGA cohorts fewer steps find the same folds."""


def site_preserving_folds(labels: Labels, k: int = 5, seed: int = 0, repeats: int = 1) -> Folds:
    """`k` folds in which every tissue source site lies wholly in one test set; every patient is tested once.

    What is made small is the sum over folds of ((events - E/k) / (E/k))^2 + ((patients - N/k) / (N/k))^2. How well
    that went, beside `stratified_folds` with the same seed, is the finding `site_balance`. Patients whose site is
    unknown count as a site each, and are listed. DataError: no sites, fewer sites with events than folds.
    """
    check_folds(labels, k, repeats)
    sites: dict[str, list[str]] = defaultdict(list)
    unknown = [p.id for p in labels.patients if not p.site]
    for patient in labels.patients:
        sites[patient.site or f"patient {patient.id}"].append(patient.id)
    if len(unknown) == len(labels.patients):
        raise DataError(
            f"{labels.source}: no patient has a tissue source site, so that folds cannot preserve sites. TCGA barcodes "
            "hold it; for other ids name a column (--columns ...,site=COLUMN)."
        )
    names = sorted(sites)
    died = labels.by_id
    weights = [(sum(died[i].event for i in sites[name]), len(sites[name])) for name in names]
    able = sum(events > 0 for events, _ in weights)
    if able < k:
        raise DataError(f"{labels.source}: only {able} sites have events, too few for {k} folds: use at most {able}.")
    tests: list[list[str]] = []
    for repeat in range(repeats):
        seats = _arrange(weights, k, np.random.default_rng([seed, k, 7, repeat]))
        tests += [[i for name, seat in zip(names, seats, strict=True) if seat == fold for i in sites[name]]
                  for fold in range(k)]  # fmt: skip
    splits = splits_of(labels, tests)
    findings = [_balance(splits, labels, k, seed, repeats)]
    if unknown:
        message = "patients have no known tissue source site; each counts as a site of its own"
        findings.append(finding("site_unknown", "warning", message, unknown))
    if len({frozenset(split.test) for split in splits}) < len(splits):
        message = "repeats hold the same test set twice: there are few ways to divide these sites"
        findings.append(Finding("repeats_alike", "warning", 1, message))
    name = name_of("site-preserving", k, seed, repeats)
    return Folds(name, splits, tuple(findings), fingerprint_of(splits), "site-preserving", repeats, seed)


def shared_sites(split: Split, labels: Labels) -> float:
    """The share of the test set's patients who come from a tissue source site that the training set has as well."""
    by_id = labels.by_id
    train = {by_id[i].site for i in (*split.train, *split.val) if i in by_id} - {""}
    test = [by_id[i].site for i in split.test if i in by_id]
    return sum(site in train for site in test) / len(test) if test else 0.0


def _arrange(weights: list[tuple[int, int]], k: int, rng: np.random.Generator) -> list[int]:
    """The fold of each site, best of several annealed starts. `weights` are (events, patients) of each site."""
    events, patients = (sum(w[i] for w in weights) / k for i in (0, 1))

    def cost(load: list[int]) -> float:
        empty = 1000.0 if load[0] == 0 else 0.0  # a fold without events cannot be scored
        return (load[0] / events - 1) ** 2 + (load[1] / patients - 1) ** 2 + empty

    # As even as whole patients can be; nothing is better, so that the search may stop there.
    even = zip(*(_even(sum(w[i] for w in weights), k) for i in (0, 1)), strict=True)
    floor = sum((e / events - 1) ** 2 + (n / patients - 1) ** 2 for e, n in even) + 1e-9
    best: tuple[float, list[int]] = (float("inf"), [])
    for _ in range(STARTS):
        seats, loads = _greedy(weights, k, rng, cost)
        best = min(best, _anneal(weights, seats, loads, rng, cost, floor), key=lambda found: found[0])
        if best[0] <= floor:
            break
    return best[1]


def _even(total: int, k: int) -> list[int]:
    return [total // k + (fold < total % k) for fold in range(k)]


def _greedy(weights: Weights, k: int, rng: np.random.Generator, cost: Cost) -> tuple[list[int], list[list[int]]]:
    seats, loads = [0] * len(weights), [[0, 0] for _ in range(k)]
    for site in sorted(rng.permutation(len(weights)), key=lambda s: -sum(weights[s])):
        e, n = weights[site]
        seat = min(range(k), key=lambda f: cost([loads[f][0] + e, loads[f][1] + n]) - cost(loads[f]))
        seats[site] = seat
        loads[seat][0] += e
        loads[seat][1] += n
    return seats, loads


def _anneal(
    weights: Weights, seats: list[int], loads: list[list[int]], rng: np.random.Generator, cost: Cost, floor: float
) -> tuple[float, list[int]]:
    """Move one site to another fold, or swap two sites; worse arrangements are taken ever more rarely."""
    k, m = len(loads), len(seats)
    costs = [cost(load) for load in loads]
    best = (sum(costs), list(seats))
    sites, others, folds, chance = (
        rng.integers(m, size=STEPS).tolist(), rng.integers(m, size=STEPS).tolist(),
        rng.integers(k, size=STEPS).tolist(), rng.random(STEPS).tolist(),
    )  # fmt: skip
    total = best[0]
    for step in range(STEPS):
        heat = 0.05 * (1 - step / STEPS) ** 3 + 1e-9
        a, b = sites[step], others[step]
        swap = step % 2 == 0
        one, two = seats[a], seats[b] if swap else folds[step]
        if one == two:
            continue
        e = weights[a][0] - (weights[b][0] if swap else 0)
        n = weights[a][1] - (weights[b][1] if swap else 0)
        after = cost([loads[one][0] - e, loads[one][1] - n]), cost([loads[two][0] + e, loads[two][1] + n])
        change = sum(after) - costs[one] - costs[two]
        if change <= 0 or chance[step] < exp(-change / heat):
            loads[one][0] -= e
            loads[one][1] -= n
            loads[two][0] += e
            loads[two][1] += n
            costs[one], costs[two] = after
            seats[a] = two
            if swap:
                seats[b] = one
            total += change
            if total < best[0] - 1e-12:
                best = (total, list(seats))
                if total <= floor:
                    break
    return best


def _balance(splits: tuple[Split, ...], labels: Labels, k: int, seed: int, repeats: int) -> Finding:
    def spread(of: tuple[Split, ...]) -> str:
        events = [sum(died[i].event for i in s.test) for s in of]
        sizes = [len(s.test) for s in of]
        shared = [100 * shared_sites(s, labels) for s in of]
        return (
            f"{min(events)} to {max(events)} events and {min(sizes)} to {max(sizes)} patients a fold, "
            f"{min(shared):.0f} to {max(shared):.0f} % of test patients from a site of train"
        )

    died = labels.by_id
    other = stratified_folds(labels, k, seed, repeats).splits
    message = f"site-preserving folds: {spread(splits)}; stratified folds: {spread(other)}"
    return Finding("site_balance", "info", len(splits), message)
