"""Checks of a cohort that need more than one row: censoring, folds, tissue source sites."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..cohorts import Cohort
from ..findings import Finding, finding
from ..folds.site_preserving import shared_sites
from ..labels.read import Labels
from ..split import Split

FEW_EVENTS = 10
"""Fewer deaths than this in a test set make its C-index nearly arbitrary."""


class _Fold(Protocol):
    @property
    def fold(self) -> int: ...
    @property
    def events(self) -> int: ...
    @property
    def chance_sd(self) -> float | None: ...


def censoring(labels: Labels, cohort: Cohort) -> list[Finding]:
    """Censoring that is constant, or whose rate is that of the cohort's public table flipped.

    The public rate is that of overall survival, so that only overall survival is compared with it.
    """
    died = sum(p.event for p in labels.patients)
    n = len(labels.patients)
    if not n:
        return []
    if died in (0, n):
        message = (
            f"{labels.source}: {'nobody' if died == 0 else 'everybody'} of {n} patients died: is the column right?"
        )
        return [Finding("censoring_constant", "error", n, message)]
    if labels.endpoint != "os" or labels.cohort != cohort.name or cohort.events is None or not cohort.patients:
        return []
    rate, public = died / n, cohort.events / cohort.patients
    off = abs(rate - public) / np.sqrt(public * (1 - public) / n)
    message = f"{died} of {n} patients ({rate:.0%}) died, {public:.0%} in the public table of {cohort.name}"
    if abs(rate - (1 - public)) < abs(rate - public) and off > 3:
        message += f": censoring looks flipped ({1 - rate:.0%} would fit). 1 must mean censored in a censorship column"
        return [Finding("censoring_flipped", "error", died, message)]
    if off > 4:
        return [Finding("event_rate_differs", "warning", died, message)]
    return []


def half_width(folds: Sequence[_Fold]) -> list[Finding]:
    """How far the C-index of a model without skill strays from one half, in one fold and in the mean of all."""
    sds = [fold.chance_sd for fold in folds if fold.chance_sd is not None]
    if not sds:
        return []
    low, high, mean = min(sds), max(sds), float(np.sqrt(np.square(sds).sum()) / len(sds))
    one = f"{1.96 * low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{1.96 * low:.3f} to {1.96 * high:.3f}"
    spread = f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
    message = (
        f"a model without skill reaches a C-index within 0.5 \N{PLUS-MINUS SIGN} {one} in 95 % of folds (SD {spread}), "
        f"and within \N{PLUS-MINUS SIGN} {1.96 * mean:.3f} in the mean of {len(sds)} folds (SD {mean:.3f})"
    )
    return [Finding("c_index_half_width", "info", len(sds), message)]


def few_events(folds: Sequence[_Fold]) -> list[Finding]:
    """Test sets with hardly any deaths."""
    few = [f"fold {fold.fold} ({fold.events})" for fold in folds if fold.events < FEW_EVENTS]
    message = f"test sets have fewer than {FEW_EVENTS} deaths: their C-index is nearly arbitrary"
    return [finding("few_events", "warning", message, few)] if few else []


def sites(folds: Mapping[int, tuple[Sequence[str], Sequence[str]]], labels: Labels) -> list[Finding]:
    """Tissue source sites that train and test share: a model can gain by recognising the hospital."""
    if not any(p.site for p in labels.patients):
        return []
    shares = {}
    for fold, (train, test) in folds.items():
        inside = set(test)
        shares[fold] = shared_sites(Split(fold, tuple(i for i in train if i not in inside), (), tuple(test)), labels)
    if not any(shares.values()):
        return []
    low, high = 100 * min(shares.values()), 100 * max(shares.values())
    span = f"{low:.0f} %" if round(low) == round(high) else f"{low:.0f} to {high:.0f} %"
    message = (
        f"folds share tissue source sites: {span} of test patients come from a site that train has too. A model may "
        "recognise the hospital; compare with site-preserving folds"
    )
    names = [f"fold {fold}: {100 * share:.0f} %" for fold, share in shares.items() if share]
    return [finding("sites_shared", "warning", message, names)]


def gaps(folds: Mapping[int, object]) -> list[Finding]:
    """Fold numbers that are missing between others, or before them."""
    missing = sorted(set(range(max(folds, default=-1) + 1)) - set(folds)) if folds else []
    message = "folds are missing between those that are there"
    return [finding("folds_missing", "warning", message, missing)] if missing and len(folds) > 1 else []
