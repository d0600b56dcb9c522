"""External validation as text tables: on boards a line an experiment, in a terminal its fold models one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..external_result import Estimate, ExternalResult
from .text_table import NONE, TextTable, p_value, scales, signed, text_table

HOW = (
    "External validation: models trained on another cohort and scored here as they are; nothing is chosen on this "
    "cohort. Internal: mean C-index over the test folds of the cohort they were trained on. External: mean C-index of "
    "the fold models, each alone. Drop: internal minus external. Ensemble: mean risk of all fold models. Brackets: "
    "95 % interval, patients resampled (both cohorts for the drop). Other metrics are of the ensemble; risk groups are "
    "parted at the training sets' median risk."
)


def external_table(title: str, results: Sequence[ExternalResult]) -> TextTable:
    """The experiments that were tested on a cohort which they were not trained on."""
    columns: list[tuple[str, bool, list[str]]] = [
        ("Model", False, [one.label for one in results]),
        ("Trained on", False, [f"{one.trained_on}{' (synthetic)' * one.trained_on_synthetic}" for one in results]),
        ("Kind", False, [one.kind for one in results]),
        ("Scales", False, [scales(one.scales) for one in results]),
        ("Backbone", False, [one.backbone or NONE for one in results]),
        ("Loss", False, [one.loss or NONE for one in results]),
        ("Seed", True, [str(one.seed) for one in results]),
        ("Internal C", True, [estimate(one.internal) for one in results]),
        ("External C", True, [estimate(one.external) for one in results]),
        ("Drop", True, [estimate(one.drop, sign=True) for one in results]),
        ("Ensemble C", True, [estimate(one.ensemble) for one in results]),
        ("Uno's C", True, [_score(one, "uno_c") for one in results]),
        ("AUC 12/36/60", True, [_at_months(one, "auc", 2) for one in results]),
        ("IBS (KM)", True, [_ibs(one) for one in results]),
        ("ICI 12/36/60", True, [_at_months(one, "ici", 3) for one in results]),
        ("Log-rank p", True, [_p(one) for one in results]),
        ("High risk", True, [f"{one.high_risk}" for one in results]),
        ("Oracle C", True, [NONE if one.oracle_c_index is None else f"{one.oracle_c_index:.3f}" for one in results]),
        ("Patients", True, [str(one.patients) for one in results]),
        ("Events", True, [str(one.events) for one in results]),
        ("Experiment", False, [one.experiment for one in results]),
    ]
    if all(one.oracle_c_index is None for one in results):
        columns = [column for column in columns if column[0] != "Oracle C"]
    first = ("Model", "Trained on", "External C", "Drop")
    return replace(text_table(f"{title}: external validation", columns, (HOW,)), first=first)


def models_table(one: ExternalResult) -> TextTable:
    """Every fold model and the ensemble."""
    names = list(one.scores)

    def column(metric: str, digits: int = 3) -> list[str]:
        return [_value(one.scores[name].get(metric), digits) for name in names]

    columns = [
        ("Scored by", False, names),
        ("C-index", True, column("c_index")),
        ("Uno's C", True, column("uno_c")),
        *((f"AUC {months}", True, column(f"auc_{months}", 2)) for months in (12, 36, 60)),
        ("IBS", True, column("ibs")),
        *((f"ICI {months}", True, column(f"ici_{months}")) for months in (12, 36, 60)),
        ("Log-rank p", True, [_p(one, name) for name in names]),
    ]
    title = f"{one.label} of {one.trained_on} on {one.cohort}{' (synthetic)' * one.synthetic}"
    title += f", {one.patients} patients, {one.events} deaths"
    return replace(text_table(title, columns, ()), first=("Scored by", "C-index", "Uno's C"))


def summary(one: ExternalResult) -> str:
    """Internal, external and the drop, in a sentence."""
    words = f"External C-index {estimate(one.external)}, ensemble {estimate(one.ensemble)}"
    if one.internal is not None:
        words += f"; internal {estimate(one.internal)}, drop {estimate(one.drop, sign=True)}"
    return words


def estimate(found: Estimate | None, sign: bool = False) -> str:
    """`0.612 [0.571, 0.650]`."""
    if found is None:
        return NONE
    value, low, high = (signed(number) if sign else f"{number:.3f}" for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _value(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _score(one: ExternalResult, metric: str) -> str:
    return _value(one.scores["ensemble"].get(metric), 3)


def _at_months(one: ExternalResult, metric: str, digits: int) -> str:
    values = [one.scores["ensemble"].get(f"{metric}_{months}") for months in (12, 36, 60)]
    return NONE if all(value is None for value in values) else " / ".join(_value(value, digits) for value in values)


def _ibs(one: ExternalResult) -> str:
    return NONE if one.scores["ensemble"].get("ibs") is None else f"{_score(one, 'ibs')} ({_value(one.ibs_km, 3)})"


def _p(one: ExternalResult, name: str = "ensemble") -> str:
    value = one.scores[name].get("logrank_p")
    return NONE if value is None else p_value(value)


def transfer_table(
    model: str, rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[str, str], Estimate | None]
) -> TextTable:
    """C-indices of one model: a row for what it was trained on, a column for what it was tested on."""
    cells = [("Trained on", False, list(rows))]
    cells += [(f"on {column}", True, [estimate(values.get((row, column))) for row in rows]) for column in columns]
    note = (
        "Mean C-index of the fold models, each alone, with its 95 % interval, patients resampled. On the cohort of "
        "training: of the test folds. All others: trained on all cohorts but the one that is tested."
    )
    return text_table(f"{model}: trained on one cohort, tested on another", cells, (note,))
