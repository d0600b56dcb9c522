"""The whole way on one machine, with nothing but what is installed: slides are rendered, read, embedded, and ranked."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.folds.read import read_splits
from ..datasets.labels.read import Labels, read_labels
from ..datasets.simulated.rendering.cohort import AREA, render
from ..survival.concordance import chance_sd
from .extraction.extract import ExtractionOptions, backbone_folder, extract
from .planning.request import Request
from .results.finished import Finished

COHORT, BACKBONE = "demo", "efficientnet-lite0"
MODELS = ("abmil", "crossfusion")


@dataclass(frozen=True)
class Demo:
    """What is to be done: everything is written below `out`; `patients` None is the cohort's own number, `area` the
    mean tissue of a slide in square millimetres.
    """

    out: Path
    patients: int | None = None
    seed: int = 0
    area: float = AREA

    @property
    def data(self) -> Path:
        """The data folder, as `bench run --data` takes it."""
        return self.out / "data"

    @property
    def results(self) -> Path:
        """Where results and the leaderboard go."""
        return self.out / "results"

    @property
    def features(self) -> Path:
        """Where the features go."""
        return backbone_folder(self.data, COHORT, BACKBONE)

    def request(self, model: str) -> Request:
        """The experiment of one model."""
        return Request(model, COHORT, data=self.data, out=self.results)


@dataclass(frozen=True)
class Learned:
    """C-indices, means over folds: of each model by name (`selected`, None where a fold failed), and of the true risks.

    `chance` is half the width of the interval around 0.5 in which 95 % of such means fall for risks without any skill.
    """

    c_index: dict[str, float | None]
    oracle: float | None
    chance: float
    patients: int
    slides: int
    events: int


def draw(demo: Demo, count: Callable[[int, int], None]) -> None:
    """Render the slides that are not there yet."""
    render(COHORT, demo.data / COHORT, demo.patients, demo.seed, area=demo.area, progress=count)


def embed(demo: Demo, watching: Callable[[str], AbstractContextManager]) -> list[dict[str, object]]:
    """Extract the features that are not there yet; a row for every slide."""
    with watching(BACKBONE) as watcher:
        options = ExtractionOptions((demo.data / COHORT / "slides",), demo.features, BACKBONE)
        return extract(options, watcher.started, watcher.slide).rows


def learned(demo: Demo, finished: list[Finished]) -> Learned:
    """What came out, against the truth and against chance."""
    labels = read_labels(demo.data / COHORT / "labels.csv", COHORT)
    summaries = [one.summary() for one in finished]
    scores = {one.experiment.model: one.summary()["mean"]["selected"] for one in finished}  # type: ignore[index]
    oracle = next((s["oracle"] for s in summaries if s["oracle"] is not None), None)
    counts = labels.counts
    return Learned(scores, oracle, _chance(demo, labels), counts.patients, counts.slides, counts.events)  # type: ignore[arg-type]


def _chance(demo: Demo, labels: Labels) -> float:
    sds = []
    for split in read_splits(demo.data / COHORT / "splits", labels).splits:
        test = [labels.by_id[i] for i in split.test]
        sds.append(chance_sd(np.array([p.time for p in test]), np.array([p.event for p in test])))
    return 1.96 * math.sqrt(sum(sd**2 for sd in sds)) / len(sds)
