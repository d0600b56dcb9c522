"""milsurv: which multiple-instance-learning model predicts cancer survival best from whole slide images?

An Experiment puts a Model on the Bags of a Cohort, fold by fold, and each Result is a row of the Leaderboard.

Signs are stated once, here: event True = died, higher risk = earlier death, times are in months.

>>> import milsurv
>>> results = milsurv.run(model="crossfusion", cohort="brca", features="synthetic")  # doctest: +SKIP
>>> board = milsurv.leaderboard("results")  # doctest: +SKIP

The folders say what they hold: `survival` the arithmetic of follow-up, `models` the models, `datasets` slides, features
and patients, `leaderboards` results and what they are worth, `benchmark` the experiments and the `bench` command.
"""

from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .benchmark.api import Results, compare, evaluate, leaderboard, load_model, predict, run

__all__ = ["Results", "__version__", "compare", "evaluate", "leaderboard", "load_model", "predict", "run"]


def __getattr__(name: str) -> object:
    """Load the functions of the API when they are first used: importing milsurv loads nothing heavy."""
    if name in __all__:
        from .benchmark import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What the module offers."""
    return sorted(__all__)
