"""Patient: the unit of every survival analysis here; slides belong to patients."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# A TCGA-style barcode: project, tissue source site, participant, and then sample, portion, slide, ...
# Simulated cohorts write the same shape with the prefix SYNT, so that one rule serves both.
BARCODE = re.compile(r"^(TCGA|SYNT)-[0-9A-Z]{2}-[0-9A-Z]{4}(?=$|-)", re.IGNORECASE)
SYNTHETIC_PREFIX = "SYNT-"


@dataclass(frozen=True)
class Patient:
    """One patient: `time` in months (> 0), `event` True = died, `site` of the tissue source, `slides` without .svs."""

    id: str
    time: float
    event: bool
    site: str
    slides: tuple[str, ...]
    covariates: Mapping[str, object] = field(default_factory=dict, compare=False)


def patient_of(identifier: str) -> str:
    """The patient that an identifier names: the first 12 characters of a barcode, any other text as it is."""
    return identifier[:12] if BARCODE.match(identifier) else identifier


def site_of(identifier: str) -> str:
    """The tissue source site of a barcode (characters 6 and 7), or "" where the identifier is no barcode.

    Taken from the barcode because tables that went through a spreadsheet hold sites as integers ("05" became
    5).
    """
    return identifier[5:7].upper() if BARCODE.match(identifier) else ""
