"""Baselines: what can be said of survival without looking at a single patch. A model below them has shown nothing.

clinical-cox  ridge Cox of clinical covariates
site-only     ridge Cox of the tissue source site: where a slide was made, not what is on it
bag-size      Cox of the logarithm of the number of patches: how much tissue was cut, not what is on it
random        risks drawn at random: what chance alone reaches on these folds
"""

from dataclasses import dataclass

DEFAULT_COVARIATES = ("age", "is_female")


@dataclass(frozen=True)
class Baseline:
    """A baseline: its `name`, its `title`, and the ridge penalty it has unless another is given (None: it has none).

    counts_patches: it reads how many patches there are, and nothing else of the features.
    seeded: it depends on the seed; the others are rows of seed 0.
    """

    name: str
    title: str
    penalty: float | None
    counts_patches: bool = False
    seeded: bool = False


BASELINES: dict[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("clinical-cox", "ridge Cox of clinical covariates", 1.0),
        Baseline("site-only", "ridge Cox of the tissue source site", 10.0),
        Baseline("bag-size", "Cox of the number of patches", 1.0, counts_patches=True),
        Baseline("random", "risks drawn at random", None, seeded=True),
    )
}
