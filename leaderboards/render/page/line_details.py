"""What opening a line of the page shows: every fold, what is missing and why, settings and provenance."""

import json

from ....survival.metrics import METRICS
from ...ranking.board import CONTROL, IMPORTED, Line, Spread
from ...rows import Row
from ...schema import READINGS
from .. import text_tables as sheets
from ..figures.kaplan_meier import p_text

_FOLD_COLUMNS = (
    ("Selected", "c_index_selected", 3),
    ("Last", "c_index_last", 3),
    ("Best", "c_index_best", 3),
    ("Uno's C", "uno_c_selected", 3),
    ("AUC 12", "auc_12_selected", 2),
    ("AUC 36", "auc_36_selected", 2),
    ("AUC 60", "auc_60_selected", 2),
    ("IBS", "ibs_selected", 3),
    ("IBS of KM", "ibs_km", 3),
    ("ICI 12", "ici_12_selected", 3),
    ("ICI 36", "ici_36_selected", 3),
    ("ICI 60", "ici_60_selected", 3),
)


def folds_sheet(line: Line) -> sheets.Sheet:
    """Every fold of every seed: the three readings of the C-index, the other metrics at selected."""
    rows = []
    for row in line.rows:
        numbers = [_number(row.get(key), digits) for _, key, digits in _FOLD_COLUMNS]
        numbered = [row.get(f"epoch_{kind}") for kind in READINGS]
        known = any(epoch is not None for epoch in numbered)
        epochs = "/".join(str(epoch) for epoch in numbered) if known else sheets.NONE
        tests = [row.get(f"{name}_selected") for name in ("d_calibration_p", "logrank_p")]
        p_cells = [sheets.NONE if p is None else p_text(p).removeprefix("= ") for p in tests]
        test = f"{row['n_test']} ({row['events_test']})"
        rows.append(
            (str(row["seed"]), str(row["fold"]), test, *numbers, *p_cells, epochs, sheets.seconds(row.get("seconds")))
        )
    names = (
        "Seed",
        "Fold",
        "Test (died)",
        *(name for name, _, _ in _FOLD_COLUMNS),
        "D-cal. p",
        "Log-rank p",
        "Epochs s/l/b",
        "s",
    )
    return sheets.Sheet("Folds", names, (True,) * len(names), tuple(rows))


def missing(line: Line) -> tuple[str, ...]:
    """Which metrics have no value on which fold, and why; what all folds lack is said once."""
    found: list[str] = []
    everywhere: dict[str, list[str]] = {}
    for key in sorted({key for row in line.rows for key in row if key.startswith("why_")}):
        reasons = [row.get(key) for row in line.rows]
        name = key.removeprefix("why_")
        if len(reasons) > 1 and reasons[0] and len(set(reasons)) == 1:
            everywhere.setdefault(reasons[0], []).append(name)
        else:
            rows = zip(line.rows, reasons, strict=True)
            found += [f"seed {row['seed']}, fold {row['fold']}, {name}: {why}" for row, why in rows if why]
    for reason, names in everywhere.items():
        whole = [kind for kind in READINGS if {f"{metric}_{kind}" for metric in METRICS} <= set(names)]
        words = [f"everything at {kind}" for kind in whole]
        words += [name for name in names if name.rpartition("_")[2] not in whole]
        found.append(f"all folds, {', '.join(words)}: {reason}")
    return tuple(found)


def facts(line: Line) -> tuple[tuple[str, str], ...]:
    """Settings, fingerprints, versions and hardware of a line, as names and values."""
    settings = json.loads(line.hyperparameters)
    words = ", ".join(f"{name}={json.dumps(settings[name])}" for name in sorted(settings))
    told = [
        ("Hyperparameters", words or "none"),
        ("Seeds", ", ".join(str(seed) for seed in line.seeds)),
        ("Experiments", ", ".join(line.experiments)),
        ("Patients", f"{line.patients}, of whom {line.events} died"),
        ("Slides", line.slides or sheets.NONE),
    ]
    if line.split is not None:
        told.append(("SD between folds / seeds of a fold", sheets.split(line.split)))
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
        # What no control and no import can have is not worth a line that says so.
        if values or (line.family not in (CONTROL, IMPORTED) and key != "source"):
            told.append((title, ", ".join(values) or "not recorded"))
    created = _values(line.rows, "created")
    if created:
        told.append(("Run", created[0] if len(created) == 1 else f"{min(created)} to {max(created)}"))
    total = sum(row.get("seconds") or 0.0 for row in line.rows)
    if any(row.get("seconds") is not None for row in line.rows):
        told.append(("Time", f"{total:.0f} s for {len(line.rows)} trainings"))
    return tuple(told)


def _values(rows: tuple[Row, ...], key: str) -> list[str]:
    return list(dict.fromkeys(str(row[key]) for row in rows if row.get(key)))


def _number(value: float | None, digits: int) -> str:
    return sheets.mean(Spread(value, None, 1, 1), digits)
