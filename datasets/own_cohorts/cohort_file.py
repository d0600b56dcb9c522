"""cohort.toml: where the data of a cohort of one's own lie and how its tables are to be read, written once.

    title = "Colon, two hospitals"
    labels = "hosp.csv"
    folds = "folds"
    features = ["job_20x", "job_coarse"]
    centre = "Zentrum"

    [columns]
    patient = "Patient"
    time = "OS (Jahre)"
    event = "Status"

    [status_words]
    died = ["dead"]

Paths count from the folder of the file. Every key may be left out but `labels`.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...errors import DataError, UsageError
from ...names import check_choice, did_you_mean
from ..cohorts import CDR, COHORTS, CPTAC, SIMULATED, Cohort, own_cohort
from ..labels.columns import ENDPOINTS, KEYS
from ..labels.read import OWN

FILE = "cohort.toml"


class StatusWordLists(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words of the outcome: those that mean died, and those that mean censored."""

    died: tuple[str, ...] = ()
    censored: tuple[str, ...] = ()


class CohortFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cohort of one's own.

    Parameters
    ----------
    labels, sheet, slide_table
        The label table, its sheet where it is a workbook, and a second table of slides.
    title, name
        In words, and on boards; the name of the folder by default.
    folds, features
        A folder or file of folds, and folders of features: their slides and scales are joined.
    backbone, magnification, patch_px, coords
        Of the features, where their files do not say it.
    columns, unit, centre
        What the columns hold (the keys of --columns), the unit of the time, and the column of hospitals.
    status_words, endpoint, unusable_times
        As the options of the same names.
    clinical
        Covariates of the clinical baseline that models are tested against, as `--covariates` takes them.
    """

    labels: str
    title: str = ""
    name: str = ""
    sheet: str | None = None
    slide_table: str | None = None
    folds: str | None = None
    features: tuple[str, ...] | str = ()
    backbone: str | None = None
    magnification: int | None = None
    patch_px: int | None = None
    coords: str | None = None
    columns: dict[str, str] = {}  # msgspec copies it
    unit: str | None = None
    centre: str | None = None
    status_words: StatusWordLists = StatusWordLists()
    endpoint: str = "os"
    unusable_times: Literal["error", "drop"] = "error"
    clinical: tuple[str, ...] = ("age", "is_female")
    home: str = "."
    """The folder that paths count from; set when the file is read."""

    def path(self, text: str | None) -> Path | None:
        """A path of the file, from where the program runs."""
        return None if text is None else Path(self.home) / text

    @property
    def feature_folders(self) -> tuple[Path, ...]:
        """The folders of features."""
        named = (self.features,) if isinstance(self.features, str) else self.features
        beside = Path(self.home) / "features"
        return tuple(Path(self.home) / text for text in named) or ((beside,) if beside.is_dir() else ())

    @property
    def all_columns(self) -> dict[str, str]:
        """What the columns hold, with the unit and the column of hospitals."""
        more = {"unit": self.unit, "site": self.centre}
        return self.columns | {key: value for key, value in more.items() if value is not None}

    @property
    def cohort(self) -> Cohort:
        """The cohort; a name that is registered is marked as one's own."""
        taken = self.name.lower() in COHORTS | CDR | CPTAC | SIMULATED
        return own_cohort(f"{OWN}{self.name}" if taken else self.name, self.title, self.clinical)


def cohort_file_at(text: str) -> Path | None:
    """The cohort.toml that `--cohort` names: the file, or its folder; None where it names no path."""
    path = Path(text)
    if path.suffix == ".toml":
        return path
    if (path / FILE).is_file() or "/" in text or "\\" in text or text in (".", ".."):
        return path / FILE
    return None


def read_cohort_file(path: Path) -> CohortFile:
    """The cohort of a cohort.toml. DataError names the file, the key and the nearest known one."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: `bench data init {path.parent} --labels FILE` writes it.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
    fields = [field for field in CohortFile.__struct_fields__ if field != "home"]
    for key in content:
        check_choice(f"key in {path}:", key, fields, DataError)
    content.setdefault("name", _name_of(path))
    try:
        found = msgspec.convert({**content, "home": str(path.parent)}, CohortFile)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `(\w+)`", str(error))
        hint = did_you_mean(unknown[1], ("died", "censored")) if unknown else ""
        raise DataError(f"{path}: {error}.{hint}") from error
    for key in found.columns:
        check_choice(f"key of [columns] in {path}:", key, KEYS, DataError)
    check_choice(f"endpoint in {path}:", found.endpoint, ENDPOINTS, DataError)
    return found


def folder_of(file: CohortFile, backbone: str) -> Path:
    """Where features of a cohort go that are extracted: the folder that it names, else features/ beside the file.

    UsageError where it names several.
    """
    if len(file.feature_folders) > 1:
        raise UsageError(f"{file.home}/{FILE} names several folders of features: say with --out which one to fill")
    return file.feature_folders[0] if file.feature_folders else Path(file.home) / "features" / backbone


def _name_of(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", path.resolve().parent.name).strip("-.") or "own"
