"""Grids as files: tables of models, cohorts, backbones, losses, recipes and seeds, in TOML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from ...errors import UsageError
from ...names import check_choice, did_you_mean
from .grid import grid, values_of
from .request import Request

SHIPPED = Path(__file__).parent / "grids"
"""The grids that come with the package."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table: every combination of its values is an experiment; empty lists stand for what a request says.

    covariates: what models are joined with, as --covariates takes them; "" for slides alone.
    """

    models: list[str]
    cohorts: list[str]
    title: str = ""
    backbones: list[str] = []
    losses: list[str] = []
    scales: list[int] = []
    recipes: list[str] = []
    covariates: list[str] = []
    seeds: list[int] = []
    settings: dict[str, str | int | float | bool] = {}


class GridFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grid.

    title: what it is. source: where `printed` figures come from; printed: their csv file, looked for beside the grid
    and in the data folder; methods: what that file calls our models.
    """

    table: list[Table]
    title: str = ""
    source: str = ""
    printed: str = ""
    methods: dict[str, str] = {}


@dataclass(frozen=True)
class Printed:
    """A figure of a published table: the mean and standard deviation over folds."""

    table: str
    method: str
    model: str
    backbone: str
    cohort: str
    mean: float
    sd: float | None


NARROWED = {
    "model": "models", "cohort": "cohorts", "backbone": "backbones", "loss": "losses", "scale": "scales",
    "recipe": "recipes", "seeds": "seeds",
}  # fmt: skip
"""The options that pick from a grid, and what they pick from."""


def grid_names() -> list[str]:
    """The names of the grids that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def grid_path(name: str) -> Path:
    """The file of a grid: a path, or the name of one that comes with the package. Errors: `UsageError`."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        if not path.is_file():
            raise UsageError(f"--grid {name}: there is no such file")
        return path
    check_choice("grid", name, grid_names())
    return SHIPPED / f"{name}.toml"


def read_grid(path: Path) -> GridFile:
    """Read a grid. Errors: `UsageError` for what is no TOML, for unknown keys and for values that do not fit."""
    try:
        found = msgspec.toml.decode(path.read_bytes())
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path}: is not TOML ({error})") from error
    _check_keys(path, "", found, GridFile)
    tables = found.get("table")
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{path}: a grid has at least one [[table]], with models and cohorts")
    for number, table in enumerate(tables, 1):
        _check_keys(path, f"table {number}: ", table, Table)
    try:
        return msgspec.convert(found, GridFile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from error


def requests_of(file: GridFile, first: Request, picked: Mapping[str, str]) -> list[Request]:
    """The experiments of a grid, on top of `first`, each once.

    picked: options that narrow it, such as `model: abmil,crossfusion`; a value that no table has is an error. An option
    of a column that a table leaves open gives its values.
    Errors: `UsageError`.
    """
    wanted = {
        column: list(values_of(option, picked[option])) for option, column in NARROWED.items() if option in picked
    }
    for column, values in wanted.items():
        columns = [_texts(getattr(table, column)) for table in file.table]
        offered = list(dict.fromkeys(value for texts in columns for value in texts))
        for value in values:
            if value not in offered and all(columns):
                near = did_you_mean(value, offered)
                raise UsageError(f"the grid has no {column} {value!r}.{near} It has {', '.join(offered)}")
    cells: dict[str, Request] = {}
    for table in file.table:
        chosen = {column: _chosen(table, column, wanted.get(column)) for column in NARROWED.values()}
        if any(values == [] for values in chosen.values()):
            continue
        settings = {key.replace("-", "_"): _text(value) for key, value in table.settings.items()} | dict(first.settings)
        joined = [first.covariates] if first.covariates else [text or None for text in table.covariates] or [None]
        for recipe, covariates in product(chosen["recipes"] or [first.recipe], joined):
            named = {column: None if values is None else ",".join(values) for column, values in chosen.items()}
            for cell in grid(
                replace(first, recipe=recipe, settings=settings, covariates=covariates),
                named["models"] or "",
                named["cohorts"] or "",
                named["backbones"] or first.backbone,
                named["losses"],
                named["scales"],
                named["seeds"] or "0",
            ):
                cells.setdefault(cell.command, cell)
    if not cells:
        raise UsageError("nothing of the grid is left: the options pick from tables that do not have them together")
    return list(cells.values())


def read_printed(file: GridFile, path: Path, data: Path, given: Path | None = None) -> list[Printed]:
    """The printed figures that go with a grid; none where there is no such file. Errors: `UsageError`."""
    import csv

    if given is None and not file.printed:
        return []
    places = [given] if given is not None else [path.parent / file.printed, data / file.printed]
    place = next((one for one in places if one.is_file()), None)
    if place is None:
        if given is not None:
            raise UsageError(f"--printed {given}: there is no such file")
        return []
    try:
        with place.open(encoding="utf-8", newline="") as lines:
            return [
                Printed(
                    row["table"],
                    row["method"],
                    file.methods.get(row["method"], row["method"]),
                    row["backbone"],
                    row["cohort"],
                    float(row["mean"]),
                    float(row["sd"]) if row.get("sd") else None,
                )
                for row in csv.DictReader(lines)
            ]
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{place}: expected the columns table, method, backbone, cohort, mean, sd ({error})"
        ) from error


def _chosen(table: Table, column: str, wanted: Sequence[str] | None) -> list[str] | None:
    """The values of a column that are asked for; None where neither the table nor the command says any."""
    own = _texts(getattr(table, column))
    if wanted is None:
        return own or None
    return [value for value in own if value in wanted] if own else list(wanted)


def _texts(values: Sequence[object]) -> list[str]:
    return [str(value) for value in values]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_keys(path: Path, where: str, found: Any, kind: type[msgspec.Struct]) -> None:
    """Errors: `UsageError` for a key that there is not, with the nearest."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in found if isinstance(found, dict) else ():
        if key not in known:
            near = did_you_mean(key, known)
            raise UsageError(f"{path}: {where}unknown key {key!r}.{near} Known: {', '.join(known)}")
