"""Which cohort a word names: a registered one, a cohort.toml, or one's own."""

from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import UnknownName
from ...names import closest, did_you_mean
from .. import cohorts
from ..cohorts import CDR, COHORTS, CPTAC, SIMULATED, Cohort
from ..patient import BARCODE
from .cohort_file import CohortFile, cohort_file_at, read_cohort_file


@dataclass(frozen=True)
class Found:
    """A cohort, and the file that describes it where there is one. `registered`: the registry holds it."""

    cohort: Cohort
    file: CohortFile | None = None
    registered: bool = False


def find_cohort(word: str) -> Found:
    """The cohort that `word` names: a folder with a cohort.toml or that file, a registered name, or any other name.

    DataError for a cohort.toml that cannot be read, UsageError for a word that can be no name.
    """
    if (path := cohort_file_at(word.strip())) is not None:
        file = read_cohort_file(path)
        return Found(file.cohort, file)
    try:
        return Found(cohorts.get(word), registered=True)
    except UnknownName:
        return Found(cohorts.own_cohort(word.strip()))


def registered_names() -> tuple[str, ...]:
    """The names that the registry holds."""
    return (*COHORTS, *CDR, *CPTAC, *SIMULATED)


def mistyped(word: str, identifiers: Iterable[str]) -> str | None:
    """The registered cohort that a name of one's own most likely stands for: it is nearly that name, and the patients
    have barcodes of TCGA (or of simulated patients). None for every name of a study of TCGA.
    """
    if word.strip().lower().removeprefix("tcga-") in TCGA or not any(map(BARCODE.match, identifiers)):
        return None
    return closest(word, registered_names(), cutoff=0.7)


TCGA = frozenset(
    [
        "acc",
        "blca",
        "brca",
        "cesc",
        "chol",
        "coad",
        "dlbc",
        "esca",
        "gbm",
        "hnsc",
        "kich",
        "kirc",
        "kirp",
        "laml",
        "lgg",
        "lihc",
        "luad",
        "lusc",
        "meso",
        "ov",
        "paad",
        "pcpg",
        "prad",
        "read",
        "sarc",
        "skcm",
        "stad",
        "tgct",
        "thca",
        "thym",
        "ucec",
        "ucs",
        "uvm",
    ]
)
"""The studies of TCGA."""


def unknown_cohort(word: str) -> str:
    """For a message where a name that is not registered lacks its data."""
    near = did_you_mean(word, registered_names())
    return f"{word!r} is no registered cohort.{near} For a cohort of your own give its labels: --labels FILE"
