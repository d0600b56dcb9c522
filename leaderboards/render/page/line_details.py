"""What opening a line of the page shows: every fold, what is missing and why, settings and provenance."""

import json
from statistics import fmean

from ....survival import metrics as registry
from ...ranking.board import BASELINE, IMPORTED, Line, Spread
from ...result_row import READINGS, ResultRow, metric_columns
from .. import text_tables
from ..figures.kaplan_meier import p_text

_HEADS = {
    "uno_c": "Uno's C", "auc_12": "AUC 12", "auc_36": "AUC 36", "auc_60": "AUC 60", "ibs": "IBS", "ici_12": "ICI 12",
    "ici_36": "ICI 36", "ici_60": "ICI 60", "d_calibration_p": "D-cal. p", "logrank_p": "Log-rank p",
}  # fmt: skip
"""Short heads; other metrics stand under their titles."""
_DIGITS = {"auc_12": 2, "auc_36": 2, "auc_60": 2}
_P_VALUES = ("d_calibration_p", "logrank_p")


def folds_table(line: Line) -> text_tables.TextTable:
    """Every fold of every seed: the three readings of the C-index, and every other metric that some fold has at
    selected.
    """
    columns = [(reading.capitalize(), f"c_index_{reading}", "c_index") for reading in READINGS]
    for metric in registry.METRICS.values():
        if metric.name == "c_index" or all(row.score(f"{metric.name}_selected") is None for row in line.rows):
            continue
        columns.append((_HEADS.get(metric.name, metric.title), f"{metric.name}_selected", metric.name))
        if metric.name == "ibs":
            columns.append(("IBS of KM", "ibs_km", "ibs_km"))
    names = ("Seed", "Fold", "Test (died)", *(head for head, _, _ in columns), "Epochs s/l/b", "s")
    rows = []
    for row in line.rows:
        epochs = list(row.epoch_by_reading.values())
        known = any(epoch is not None for epoch in epochs)
        rows.append(
            (
                str(row.seed),
                str(row.fold),
                f"{row.n_test} ({row.events_test})",
                *(_number(metric, row.score(column)) for _, column, metric in columns),
                "/".join(map(str, epochs)) if known else text_tables.NONE,
                text_tables.seconds(row.seconds),
            )
        )
    return text_tables.TextTable("Folds", names, (True,) * len(names), tuple(rows))


def tuned_table(line: Line) -> text_tables.TextTable:
    """The settings that tuning chose for every fold of every seed."""
    names = ("Seed", "Fold", "Trials", "Inner C: default", "chosen", "Settings", "s")
    rows = tuple(
        (
            str(row.seed),
            str(row.fold),
            text_tables.trials(row),
            _number("c_index", row.untuned_c_index),
            _number("c_index", row.tuned_c_index),
            text_tables.settings(row.chosen),
            text_tables.seconds(row.tuning_seconds),
        )
        for row in line.rows
        if row.trials
    )
    return text_tables.TextTable("Tuned settings", names, (True,) * len(names), rows)


def missing(line: Line) -> tuple[str, ...]:
    """Which metrics have no value on which fold, and why; what all folds lack is said once."""
    found: list[str] = []
    everywhere: dict[str, list[str]] = {}
    for column in sorted({column for row in line.rows for column in row.reasons}):
        reasons = [row.reasons.get(column) for row in line.rows]
        if len(reasons) > 1 and reasons[0] and len(set(reasons)) == 1:
            everywhere.setdefault(reasons[0], []).append(column)
        else:
            rows = zip(line.rows, reasons, strict=True)
            found += [f"seed {row.seed}, fold {row.fold}, {column}: {why}" for row, why in rows if why]
    for reason, columns in everywhere.items():
        whole = [
            reading
            for reading in READINGS
            if {column for column in metric_columns() if column.endswith(f"_{reading}")} <= set(columns)
        ]
        words = [f"everything at {reading}" for reading in whole]
        words += [column for column in columns if column.rpartition("_")[2] not in whole]
        found.append(f"all folds, {', '.join(words)}: {reason}")
    return tuple(found)


def facts(line: Line) -> tuple[tuple[str, str], ...]:
    """Settings, fingerprints, versions and hardware of a line, as names and values."""
    settings = line.rows[0].settings
    words = ", ".join(f"{name}={json.dumps(settings[name])}" for name in sorted(settings))
    found = [
        ("Hyperparameters", words or "none"),
        ("Seeds", ", ".join(str(seed) for seed in line.seeds)),
        ("Experiments", ", ".join(line.experiments)),
        ("Patients", f"{line.patients}, of whom {line.events} died"),
        ("Slides", line.slides or text_tables.NONE),
    ]
    if line.rows[0].covariates:
        joined = [(row.fusion_clinic, row.fusion_image) for row in line.rows]
        clinic, image = (fmean(pair[at] or 0.0 for pair in joined) for at in (0, 1))
        words = f"{', '.join(line.rows[0].joined_with)}; log hazard ratio per SD, mean over folds"
        found.append(("Image and clinic", f"{words}: clinic {clinic:.2f}, image {image:.2f}"))
    if line.split is not None:
        found.append(("SD between folds / seeds of a fold", text_tables.split(line.split)))
    for title, key in (
        ("Labels", "labels_fingerprint"),
        ("Folds", "folds_fingerprint"),
        ("Features", "features_fingerprint"),
        ("milsurv", "code_version"),
        ("torch", "torch_version"),
        ("Device", "device"),
        ("Hardware", "hardware"),
        ("Source", "source"),
    ):
        values = _values(line.rows, key)
        # What no baseline and no import can have is not worth a line that says so.
        if values or (line.family not in (BASELINE, IMPORTED) and key != "source"):
            found.append((title, ", ".join(values) or "not recorded"))
    created = _values(line.rows, "created")
    if created:
        found.append(("Run", created[0] if len(created) == 1 else f"{min(created)} to {max(created)}"))
    total = sum(row.seconds or 0.0 for row in line.rows)
    if any(row.seconds is not None for row in line.rows):
        found.append(("Time", f"{total:.0f} s for {len(line.rows)} trainings"))
    return tuple(found)


def _values(rows: tuple[ResultRow, ...], key: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(row, key)) for row in rows if getattr(row, key)))


def _number(metric: str, value: float | None) -> str:
    if metric in _P_VALUES:
        return text_tables.NONE if value is None else p_text(value).removeprefix("= ")
    return text_tables.mean(Spread(value, None, 1, 1), _DIGITS.get(metric, 3))
