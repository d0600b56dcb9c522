"""A rendered cohort on disk: slides whose nuclei and architecture carry a hazard, labels, folds and the truth.

An interrupted command goes on where it stopped. docs/demo.md has the model.
"""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from ....errors import DataError, writing
from ....files import write_whole
from ... import cohorts
from ...cohorts import Cohort
from ...folds.stratified import stratified_folds
from ...folds.write import save_folds
from ...labels.read import read_labels
from ...truth import FILE, Truth, read_truth, write_truth
from .plan import Plan, plan_cohort
from .slide import MPP
from .slide_files import draw_slides, shape_of

GENERATOR = 1  # raise when the same parameters give another cohort
COLUMNS = ("case_id", "slide_id", "site", "oncotree_code", "age", "survival_months", "censorship")
CONTENTS = "slides.csv"
"""What each slide shows; beside the labels, and read by no model."""
STRENGTH = 3.0
AREA = 0.5


def render(
    cohort: str | Cohort,
    folder: str | Path,
    patients: int | None = None,
    seed: int = 0,
    strength: float = STRENGTH,
    area: float = AREA,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render `cohort` into `folder` and return it: slides/*.tif, labels.csv, splits/, slides.csv, truth.json.

    `patients` draws fewer or more than the cohort's own number, in the same proportions; `strength` is the standard
    deviation of the log hazard over patients, and `area` the mean tissue of a slide in square millimetres. `workers`
    processes draw (by default one a core). Slides that are there already stay. `progress(done, total)` is called once
    a slide.

    DataError for a cohort that cannot be rendered, and for a folder that holds another cohort or anything else.
    """
    cohort = cohort if isinstance(cohort, Cohort) else cohorts.get(cohort)
    plan = plan_cohort(cohort, patients, seed, strength, area)
    folder, shape = Path(folder), shape_of(area)
    parameters = {
        "generator": GENERATOR, "rendered": True, "cohort": cohort.name, "cohort_version": cohort.version, "seed": seed,
        "strength": strength, "patients": len(plan.people), "slides": len(plan.slides) - 1, "area": area, "mpp": MPP,
        "shape": list(shape),
    }  # fmt: skip
    with writing(folder):
        _describe(folder, cohort, plan, parameters)
        draw_slides(folder / "slides", plan.slides, shape, seed, workers, progress)
    return folder


def _describe(folder: Path, cohort: Cohort, plan: Plan, parameters: dict) -> None:
    """Labels, folds and truth; the truth comes last and says that all of it is there."""
    if folder.exists() and any(folder.iterdir()):
        truth = read_truth(folder)
        if truth is None and any(path.name not in ("labels.csv", CONTENTS, "splits") for path in folder.iterdir()):
            raise DataError(f"{folder} holds other files and no {FILE}: choose an empty folder for rendered slides.")
        if truth is not None and dict(truth.parameters) != parameters:
            raise DataError(
                f"{folder} holds another rendered cohort ({_short(truth.parameters)}), not {_short(parameters)}: "
                "choose another folder or delete it."
            )
        if truth is not None:
            return
    folder.mkdir(parents=True, exist_ok=True)
    who = {person.id: person for person in plan.people}
    mine = [(slide, slide.content, who[slide.patient]) for slide in plan.slides if slide.content]
    code = cohort.name.upper()
    labels = [(p.id, s.name, s.site, code, p.age, f"{p.months:.2f}", int(not p.event)) for s, _, p in mine]
    _table(folder / "labels.csv", COLUMNS, labels)
    numbers = [(p.fine, p.coarse, c.atypia, c.solid, c.area) for _, c, p in mine]
    rows = [
        (s.name, p.id, *(f"{n:.4f}" for n in row), int(s.pen)) for (s, _, p), row in zip(mine, numbers, strict=True)
    ]
    _table(folder / CONTENTS, ("slide_id", "case_id", "fine", "coarse", "atypia", "solid", "area_mm2", "pen"), rows)
    read = read_labels(folder / "labels.csv", cohort)
    save_folds(stratified_folds(read), read, folder / "splits")
    write_truth(folder, Truth(parameters, {p.id: p.risk for p in plan.people}, plan.oracle_c_index))


def _short(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {parameters.get(key)}" for key in ("cohort", "patients", "seed", "strength"))


def _table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_whole(path, text.getvalue())
