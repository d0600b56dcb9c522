"""Out-of-fold predictions, as the board needs them: `experiments/<id>/predictions.csv`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from .rows import Problem, RowError

COLUMNS = ("patient", "fold", "reading", "time", "event", "risk", "risk_group")


def read_predictions(path: Path, name: str | None = None) -> pd.DataFrame:
    """The table of one predictions file; columns as in `COLUMNS`, then the survival at the bin edges.

    Raises RowError, naming file, column and remedy, where a column is missing or a value cannot be.
    """
    name = name or str(path)
    try:
        table = pd.read_csv(path, dtype={"patient": str, "reading": str, "risk_group": str})
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise RowError(f"{name}: cannot be read as a table ({error}); run the experiment again") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise RowError(f"{name}: column {', '.join(missing)} is missing; run the experiment again")
    for column in ("time", "risk", "fold"):
        values = pd.to_numeric(table[column], errors="coerce")
        bad = values.isna() | (values <= 0 if column == "time" else False)
        if bad.any():
            raise RowError(
                f"{name}: row {bad.idxmax() + 2}, {column} is {table[column][bad.idxmax()]!r}; correct or rerun"
            )
        table[column] = values
    events = (
        table["event"]
        .astype(str)
        .str.lower()
        .map({"1": True, "0": False, "true": True, "false": False, "1.0": True, "0.0": False})
    )
    if events.isna().any():
        raise RowError(
            f"{name}: row {events.isna().idxmax() + 2}, event is neither 0 nor 1; correct or rerun"
        )
    return table.assign(event=events.astype(bool))


def predictions_of(
    folders: Mapping[str, Path], experiments: Iterable[str]
) -> tuple[dict[str, pd.DataFrame], list[Problem]]:
    """Predictions by experiment id, and what could not be read. An experiment without a file has no entry, and a Problem."""
    found: dict[str, pd.DataFrame] = {}
    problems: list[Problem] = []
    for experiment in sorted(set(experiments) & set(folders)):
        path = folders[experiment] / "predictions.csv"
        name = f"{folders[experiment].name}/predictions.csv"
        if not path.is_file():
            problems.append(
                Problem(
                    name, "is missing, so its Kaplan-Meier curves are not shown; run the experiment again"
                )
            )
            continue
        try:
            found[experiment] = read_predictions(path, name)
        except RowError as error:
            problems.append(Problem(name, str(error).removeprefix(f"{name}: ")))
    return found, problems
