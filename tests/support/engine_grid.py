"""A small grid, and the files that come of it: the same on every engine."""

import json
import warnings
from pathlib import Path

from milsurv.benchmark.planning.grid import grid
from milsurv.benchmark.planning.request import Request
from milsurv.errors import DataError, Remark

CHANGING = {"created", "seconds"}


def first(cohort_folder: Path, out: Path, **settings: object) -> Request:
    return Request(
        "",
        "",
        features_path=str(cohort_folder / "features"),
        labels_path=cohort_folder / "labels.csv",
        folds=3,
        settings={"epochs": "4"} | {key: str(value) for key, value in settings.items()},
        out=out,
    )


def cells(cohort_folder: Path, out: Path, **settings: object) -> list[Request]:
    return grid(first(cohort_folder, out, **settings), "meanpool,abmil,random", "blca", seeds="0,1")


def files(out: Path) -> dict[str, object]:
    """Every result file by its name; of rows, what does not tell when and how fast."""
    found: dict[str, object] = {}
    for path in sorted((out / "experiments").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name == "result.json":
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if k not in CHANGING}
        elif path.is_file() and path.suffix != ".svg":
            found[name] = path.read_bytes()
    return found


class Remarking:
    """A task that remarks something, and cannot be loaded."""

    title = "nothing"

    def load(self, memory):
        warnings.warn("features were streamed", Remark, stacklevel=1)
        raise DataError("no data")
