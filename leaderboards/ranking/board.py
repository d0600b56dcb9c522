"""From rows to ranked boards: one line per model as configured, ranked by its C-index at the reading `selected`.

How a line is computed: the value of a fold is the mean over seeds of that fold; the line shows the mean over folds
and the sample standard deviation over folds (ddof = 1; unknown for a single fold). With several seeds the standard
deviation therefore is that of folds, not of seeds.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...names import is_derived
from ...survival.comparisons import variance_split
from ..experiments import CompleteExperiment, IncompleteExperiment, gather_experiments
from ..external_result import ExternalResult, of_cohort
from ..result_row import READINGS, ResultRow, score_columns
from .evidence import Evidence

BASELINE, IMPORTED = "control", "imported"
"""Families of rows that are no models of ours: baselines, which see no slide, and what others predicted."""


@dataclass(frozen=True)
class Spread:
    """A metric over folds: mean and sample SD of the `n` folds that have a value, out of `of`; None where unknown."""

    mean: float | None
    sd: float | None
    n: int
    of: int


@dataclass(frozen=True)
class Line:
    """One line of a ranking: experiments that differ in nothing but the seed.

    `spreads` maps `<metric>_<reading>`, `ibs_km` and `oracle_c_index` to their Spread; `folds` holds the C-index of
    each fold (mean over seeds) at each reading; `gap` is best - selected, the optimism of choosing the epoch on the
    test fold, and `gap_to_last` is best - last; `variant` names the hyperparameters in which lines of the same model
    differ; `seconds` is the mean time of one fold; `split` is the SD between folds and the SD between seeds of one
    fold, where there are several of both.
    """

    rank: int
    model: str
    variant: str
    family: str | None
    scales: str | None
    backbone: str | None
    loss: str | None
    recipe: str | None
    slides: str | None
    folds_name: str
    hyperparameters: str
    seeds: tuple[int, ...]
    n_folds: int
    spreads: dict[str, Spread]
    folds: dict[str, tuple[float, ...]]
    gap: float | None
    gap_to_last: float | None
    parameters: int | None
    seconds: float | None
    patients: int
    events: int
    experiments: tuple[str, ...]
    rows: tuple[ResultRow, ...]
    split: tuple[float, float] | None

    @property
    def selected(self) -> Spread:
        """The C-index this line is ranked by."""
        return self.spreads["c_index_selected"]

    def by_seed(self, column: str) -> dict[int, tuple[float, ...]] | None:
        """By seed, the score of every fold; None where one has none."""
        found: dict[int, list[float]] = {seed: [] for seed in self.seeds}
        for row in self.rows:
            if (score := row.score(column)) is not None:
                found[row.seed].append(score)
        known = all(len(scores) >= self.n_folds for scores in found.values())
        return {seed: tuple(scores) for seed, scores in found.items()} if known else None

    @property
    def constant(self) -> bool:
        """Whether it gives all patients of a fold one risk: a C-index of exactly one half in every fold."""
        return all(value == 0.5 for value in self.folds["selected"])

    @property
    def tuned(self) -> bool:
        """Whether its settings were chosen fold by fold."""
        return any(row.trials for row in self.rows)

    @property
    def method(self) -> str:
        """The model, and the covariates that it is joined with."""
        return self.rows[0].label

    @property
    def label(self) -> str:
        """The method with the hyperparameters that tell it from its sister lines."""
        return f"{self.method} ({self.variant})" if self.variant else self.method


CLINICAL_MODEL, CLINICAL = "clinical-cox", "age,is_female"
"""The clinical baseline, and its covariates where rows do not name others."""
SYNTHETIC = "Synthetic cohort: patients and features are simulated, not measured. Never compare with a real one."
WHOLE_PATIENT = "concat"
"""How slides count by default: all slides of a patient are one bag."""


@dataclass(frozen=True)
class Ranking:
    """Lines that may be compared: they share cohort, labels, folds (by fingerprint), patients and how slides count.

    `evidence`, where it was computed (see comparisons.py), is in the order of `lines`.
    """

    folds_name: str
    labels_fingerprint: str
    folds_fingerprint: str
    lines: tuple[Line, ...]
    evidence: Evidence | None = None

    @property
    def slides(self) -> str:
        """How several slides of a patient count, where not as one bag, and that scales are derived; else empty."""
        words = {
            "first-dx": "the first diagnostic slide of each patient",
            "mean-risk": "every slide a bag, risks averaged by patient",
            "slide": "SLIDE LEVEL: every slide is scored by itself, so patients with many slides count many times",
        }
        mode = self.lines[0].slides or WHOLE_PATIENT
        said = ["" if mode == WHOLE_PATIENT else words.get(mode, mode)]
        said += ["scales DERIVED from 20x, compared only with each other"] if self.derived else []
        return "; ".join(filter(None, said))

    @property
    def derived(self) -> bool:
        """Whether its lines read scales that were derived from finer ones: compared only with their like."""
        return is_derived(self.lines[0].backbone)

    @property
    def covariates(self) -> str:
        """Covariates of the clinical baseline of this cohort, which was named before any model was run."""
        named = (row.clinical for line in self.lines for row in line.rows if row.clinical is not None)
        return next(named, CLINICAL)

    @cached_property
    def baseline(self) -> Line | None:
        """The clinical baseline, with which every model is compared; None where it was not run."""
        wanted = sorted(self.covariates.split(","))
        fitting = [
            line
            for line in self.lines
            if line.model == CLINICAL_MODEL
            and sorted(str(line.rows[0].settings.get("covariates", CLINICAL)).split(",")) == wanted
        ]
        return max(fitting, key=lambda line: line.rows[0].protocol or 1, default=None)

    @property
    def best_model(self) -> int | None:
        """The place of the first line that is no baseline; None where there are baselines only."""
        return next((place for place, line in enumerate(self.lines) if line.family != BASELINE), None)


@dataclass(frozen=True)
class Board:
    """One cohort: its rankings (more than one where labels or folds differ), what is incomplete, notes, and what models
    reach on it that were trained on another cohort."""

    cohort: str
    synthetic: bool
    rankings: tuple[Ranking, ...]
    incomplete: tuple[IncompleteExperiment, ...]
    notes: tuple[str, ...]
    external: tuple[ExternalResult, ...] = ()

    @property
    def title(self) -> str:
        """The cohort's name; a synthetic cohort says so."""
        return f"{self.cohort} (synthetic)" if self.synthetic else self.cohort


def boards(rows: Iterable[ResultRow]) -> tuple[Board, ...]:
    """Ranked boards of all rows: real cohorts first, then synthetic ones, each by name. The order of rows is
    irrelevant."""
    complete, incomplete = gather_experiments(rows)
    cohorts = sorted({_cohort(item.row) for item in (*complete, *incomplete)})
    return tuple(
        _board(
            cohort,
            synthetic,
            [item for item in complete if _cohort(item.row) == (synthetic, cohort)],
            tuple(item for item in incomplete if _cohort(item.row) == (synthetic, cohort)),
        )
        for synthetic, cohort in cohorts
    )


def with_external(found: Sequence[Board], results: Sequence[ExternalResult]) -> tuple[Board, ...]:
    """The boards with external validations, each on the board of the cohort that is tested."""
    known = {(board.synthetic, board.cohort): board for board in found}
    for synthetic, cohort in {(one.synthetic, one.cohort) for one in results} - known.keys():
        notes = (SYNTHETIC,) if synthetic else ()
        known[synthetic, cohort] = Board(cohort, synthetic, (), (), notes)
    return tuple(
        replace(board, external=of_cohort(results, cohort, synthetic))
        for (synthetic, cohort), board in sorted(known.items())
    )


def _cohort(row: ResultRow) -> tuple[bool, str]:
    return row.synthetic, row.cohort


def _board(
    cohort: str,
    synthetic: bool,
    complete: Sequence[CompleteExperiment],
    incomplete: tuple[IncompleteExperiment, ...],
) -> Board:
    groups: dict[tuple, list[CompleteExperiment]] = {}
    for item in complete:
        row = item.row
        # Where patients were left out (no features, no prediction), the labels are the same and the test folds not.
        scored = (row.slides or WHOLE_PATIENT, row.patients, row.events, is_derived(row.backbone))
        groups.setdefault((row.labels_fingerprint, row.folds_fingerprint, *scored), []).append(item)
    rankings = [
        Ranking(group[0].row.folds_name, labels, folds, _lines(group)) for (labels, folds, *_), group in groups.items()
    ]
    rankings.sort(
        key=lambda ranking: (
            -len(ranking.lines),
            ranking.labels_fingerprint,
            ranking.folds_fingerprint,
            -ranking.lines[0].patients,
            ranking.lines[0].events,
        )
    )
    notes = []
    if synthetic:
        notes.append(SYNTHETIC)
    derived = [ranking for ranking in rankings if ranking.derived]
    if derived:
        notes.append(
            "Scales that were derived from 20x features are another input than an encoder's own: experiments that read "
            "them are ranked in a table of their own and compared only with each other."
        )
    if max(len(derived), len(rankings) - len(derived)) > 1:
        what = [
            word
            for word, values in (
                ("labels", {ranking.labels_fingerprint for ranking in rankings}),
                ("folds", {ranking.folds_fingerprint for ranking in rankings}),
            )
            if len(values) > 1
        ] or ["patients"]
        notes.append(
            f"The experiments do not share the same {' and '.join(what)} "
            f"({'some left patients out' if what == ['patients'] else 'their fingerprints differ'}), so they were "
            f"scored on different patients or different test folds. They are ranked in {len(rankings)} separate tables."
        )
    return Board(cohort, synthetic, tuple(rankings), incomplete, tuple(notes))


def _lines(complete: Sequence[CompleteExperiment]) -> tuple[Line, ...]:
    groups: dict[tuple, dict[int, list[CompleteExperiment]]] = {}
    for item in sorted(complete, key=lambda item: (item.row.seed, item.row.experiment)):
        groups.setdefault(item.line_key, {}).setdefault(item.row.seed, []).append(item)
    lines = []
    for seeds in groups.values():
        if all(len(items) == 1 for items in seeds.values()):
            lines.append(_line([items[0] for items in seeds.values()]))
        else:  # the same seed twice: they differ in something the row does not hold, so their mean would mean nothing
            lines += [_line([item]) for items in seeds.values() for item in items]
    lines = _with_variants(lines)
    lines.sort(
        key=lambda line: (
            -(line.selected.mean or 0.0),
            line.model,
            line.variant,
            str(line.backbone),
            line.experiments,
        )
    )
    first: dict[float | None, int] = {}
    for place, line in enumerate(lines, 1):
        first.setdefault(line.selected.mean, place)
    return tuple(replace(line, rank=first[line.selected.mean]) for line in lines)


def _line(items: Sequence[CompleteExperiment]) -> Line:
    row, rows = items[0].row, tuple(row for item in items for row in item.rows)
    n_folds = row.n_folds
    by_fold = {column: _by_fold(rows, column, n_folds) for column in score_columns()}
    spreads = dict(zip(by_fold, _spreads(np.array(list(by_fold.values()))), strict=True))
    best, selected = spreads["c_index_best"], spreads["c_index_selected"]
    seconds = [row.seconds for row in rows if row.seconds is not None]
    parameters = [row.parameters for row in rows if row.parameters is not None]
    return Line(
        rank=0,
        model=row.model,
        variant="",
        family=row.family,
        scales=row.scales,
        backbone=row.backbone,
        loss=row.loss,
        recipe=row.recipe,
        slides=row.slides,
        folds_name=row.folds_name,
        hyperparameters=row.hyperparameters,
        seeds=tuple(item.row.seed for item in items),
        n_folds=n_folds,
        spreads=spreads,
        folds={reading: tuple(by_fold[f"c_index_{reading}"]) for reading in READINGS},
        gap=_difference(best, selected),
        gap_to_last=_difference(best, spreads["c_index_last"]),
        parameters=max(parameters) if parameters else None,
        seconds=float(np.mean(seconds)) if seconds else None,
        patients=row.patients or 0,
        events=row.events or 0,
        experiments=tuple(item.row.experiment for item in items),
        rows=rows,
        split=_split(items),
    )


def _difference(best: Spread, other: Spread) -> float | None:
    """Best minus another reading; None where one has not all folds."""
    known = best.mean is not None and other.mean is not None and best.n == best.of and other.n == other.of
    return best.mean - other.mean if known and best.mean is not None and other.mean is not None else None


def _split(items: Sequence[CompleteExperiment]) -> tuple[float, float] | None:
    """SD between folds and between seeds of one fold; None unless there are at least two of both."""
    if len(items) < 2 or items[0].row.n_folds < 2:
        return None
    return variance_split(np.array([[row.score("c_index_selected") for row in item.rows] for item in items]).T)


def _by_fold(rows: Sequence[ResultRow], column: str, n_folds: int) -> list[float]:
    """The metric of each fold, mean over the seeds that have it; NaN where none has."""
    values: list[list[float]] = [[] for _ in range(n_folds)]
    for row in rows:
        if (value := row.score(column)) is not None:
            values[row.fold].append(value)
    return [_mean(fold) if fold else float("nan") for fold in values]


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else float(np.mean(values))


def _spreads(values: NDArray[np.float64]) -> list[Spread]:
    """Of every metric (one a row of `values`, NaN where a fold has none) its mean and SD over folds."""
    known, folds = ~np.isnan(values), values.shape[1]
    found: dict[int, Spread] = {}
    for count in range(folds + 1):  # metrics of as many folds together: a board has dozens of each line
        rows = np.flatnonzero(known.sum(axis=1) == count)
        some = values[rows][known[rows]].reshape(len(rows), count)
        mean = some.mean(axis=1).tolist() if count else [None] * len(rows)
        sd = some.std(axis=1, ddof=1).tolist() if count > 1 else [None] * len(rows)
        found |= {at: Spread(a, b, count, folds) for at, a, b in zip(rows.tolist(), mean, sd, strict=True)}
    return [found[row] for row in range(len(values))]


def _with_variants(lines: Sequence[Line]) -> list[Line]:
    """Lines with `variant` set: the hyperparameters in which lines of one model differ, else the experiment."""
    families: dict[str, list[Line]] = {}
    for line in lines:
        families.setdefault(line.model, []).append(line)
    differing, latest = {}, {}
    for model, family in families.items():
        sisters = [json.loads(text) for text in {line.hyperparameters for line in family}]
        # `scale` has a column of its own
        names = sorted({name for other in sisters for name in other} - {"scale"})
        differing[model] = [name for name in names if len({json.dumps(other.get(name)) for other in sisters}) > 1]
        latest[model] = max(line.rows[0].protocol or 1 for line in family)
    result = []
    for line in lines:
        own = json.loads(line.hyperparameters)
        words = [f"{name}={_plain(own[name])}" for name in differing[line.model] if name in own]
        if (line.rows[0].protocol or 1) < latest[line.model]:
            words.append(f"protocol {line.rows[0].protocol or 1}")
        result.append(replace(line, variant=", ".join(words)))
    shown = Counter(_shown(line) for line in result)
    return [
        replace(line, variant=f"{line.variant}, " * bool(line.variant) + f"experiment {line.experiments[0]}")
        if shown[_shown(line)] > 1
        else line
        for line in result
    ]


def names_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """A name for every line that no other line has: its label, and where labels repeat what else tells them apart."""
    families: dict[str, list[Line]] = {}
    for line in lines:
        families.setdefault(line.label, []).append(line)
    fields = ("scales", "backbone", "loss", "recipe", "slides", "folds_name")
    differing = {
        label: [field for field in fields if len({getattr(other, field) for other in sisters}) > 1]
        for label, sisters in families.items()
    }
    names = []
    for line in lines:
        words = [str(getattr(line, field)) for field in differing[line.label] if getattr(line, field)]
        names.append(f"{line.label} [{', '.join(words)}]" if words else line.label)
    return tuple(names)


def _shown(line: Line) -> tuple:
    return (
        line.method,
        line.variant,
        line.scales,
        line.backbone,
        line.loss,
        line.recipe,
        line.slides,
        line.folds_name,
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
