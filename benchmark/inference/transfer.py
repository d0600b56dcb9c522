"""Transfer between cohorts: train on each, test on every other, and train on all but one and test on that one."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...datasets.own_cohorts.find import find_cohort
from ...errors import DataError, UsageError, some
from ...files import file_name, write_whole
from ...leaderboards.external_result import Estimate, ExternalResult
from ..baselines.covariates import parse_covariates
from ..planning.load import Counter, located
from ..planning.request import Request
from ..results.finished import Finished
from .ensemble import load_ensemble
from .evaluate import evaluate
from .external_test import ExternalTest

OTHERS = "all others"
"""What tables call the cohorts other than the one that is tested, taken together."""


@dataclass(frozen=True)
class Cell:
    """C-index of a model that was trained on one cohort and tested on another, or on test folds of the same.

    Attributes
    ----------
    model, trained_on, tested_on
        Names; `trained_on` is `OTHERS` where a cohort is left out.
    c_index
        Mean over the fold models, with its interval; None where it has no value.
    drop
        From the test folds of the training cohort; None where both are the same.
    ensemble
        Of all fold models together; None on the same cohort, where only one of them has not seen a patient.
    """

    model: str
    trained_on: str
    tested_on: str
    c_index: Estimate | None
    drop: Estimate | None = None
    ensemble: Estimate | None = None


def requests_of(first: Request, cohorts: Sequence[str]) -> list[Request]:
    """A request for each cohort. Errors: `UsageError` for fewer than two, or one that is named twice."""
    names = [find_cohort(word).cohort.name for word in cohorts]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"--cohorts {','.join(cohorts)}: name at least two cohorts, each once")
    return [replace(first, cohort=word) for word in cohorts]


def without_one(requests: Sequence[Request], left_out: int, simulating: Counter | None = None) -> Request:
    """The request of all cohorts but one, joined: a cohort.toml in the output folder that names their features.

    Errors: `DataError` where two cohorts share a patient or a slide, or one is simulated and another not.
    """
    others = [request for place, request in enumerate(requests) if place != left_out]
    rows, features, owner = [], [], {}
    wanted = requests[0].covariates
    joined = [name for name in parse_covariates(wanted) if name != "site"] if wanted else []
    kinds = set()
    for request in others:
        labels, places = located(request, simulating)
        kinds.add((labels.synthetic, labels.endpoint))
        if labels.without_slides:
            raise DataError(f"{labels.source} names no slides, which is needed to join cohorts: give a table that does")
        for patient in labels.patients:
            owner.setdefault(patient.id, []).append(labels.cohort)
            rows += [
                (
                    *(patient.id, slide, repr(patient.time), int(not patient.event), patient.site or labels.cohort),
                    *(str(patient.covariates.get(name, "")) for name in joined),
                )
                for slide in patient.slides
            ]
        features += [folder for folder in places.features if folder not in features]
    if shared := sorted(name for name, where in owner.items() if len(where) > 1):
        raise DataError(f"{len(shared)} patients are in two of the cohorts ({some(shared)}): they cannot be joined")
    if len(kinds) > 1:
        raise DataError("simulated and measured cohorts, or cohorts with different endpoints, cannot be joined")
    tested = find_cohort(requests[left_out].cohort).cohort.name
    name = f"all-but-{file_name(tested)}"
    folder = requests[0].out / "transfer" / name
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case_id", "slide_id", "survival_months", "censorship", "site", *joined))
    writer.writerows(sorted(rows))
    write_whole(folder / "labels.csv", text.getvalue())
    paths = ", ".join(_toml(os.path.relpath(path, folder)) for path in features)
    lines = [f"name = {_toml(name)}", 'labels = "labels.csv"', f"features = [{paths}]", 'centre = "site"']
    write_whole(folder / "cohort.toml", "\n".join(lines) + "\n")
    shape = {"strength": None, "patients": None, "cohort_seed": 0, "dial": (), "features_path": None}
    return replace(requests[left_out], cohort=str(folder), endpoint="os", **shape)


def _toml(text: str) -> str:
    """Text as a TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def internal_cell(model: str, cohort: str, result: ExternalResult) -> Cell:
    """The cell of a cohort with itself, as an external validation of the same experiment has found it."""
    return Cell(model, cohort, cohort, result.internal)


def tested(
    trained: Request, finished: Finished, test: Request, label: str, others: bool = False
) -> tuple[Cell, ExternalResult]:
    """The cell of a finished experiment on another cohort. Errors: as `evaluate`."""
    folder = trained.out / "experiments" / finished.experiment.id
    foreign = trained.model if ":" in trained.model else None
    ensemble = load_ensemble(folder, model=foreign, device=finished.experiment.device)
    asked = replace(test, model=trained.model, slides=ensemble.about.slides, endpoint=ensemble.about.endpoint)
    result = evaluate(ensemble, asked).result
    trained_on = OTHERS if others else result.trained_on
    return Cell(label, trained_on, result.cohort, result.external, result.drop, result.ensemble), result


def external_tests(requests: Sequence[Request]) -> list[ExternalTest]:
    """Every pair of different cohorts."""
    return [ExternalTest(one, other.cohort) for one in requests for other in requests if other is not one]
