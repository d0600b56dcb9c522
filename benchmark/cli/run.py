"""`bench run`: one experiment."""

from typing import Any

from . import options as o
from .mistakes import explained
from .request_options import engine_from, request_from, tracking_from, with_request_options


@with_request_options
def run(
    model: o.Model,
    cohort: o.CohortName,
    loss: o.Loss = None,
    epochs: o.Epochs = None,
    scale: o.Scale = None,
    patches: o.Patches = None,
    refit: o.Refit = None,
    settings: o.Settings = None,
    seeds: o.Seeds = "0",
    test_cohort: o.TestCohort = None,
    as_json: o.AsJson = False,
    dry_run: o.DryRun = False,
    **shared: Any,
) -> None:
    """Run a model, or a baseline, in cross-validation, log it to MLflow and render the leaderboard.

    Several seeds are as many experiments and one line of the leaderboard.
    Finished folds are kept: an interrupted command, typed again, goes on where it stopped.
    """
    with explained():
        from ...models.registry import adopt
        from ..planning.grid import by_seed
        from ..planning.resolve import check_request

        short = {"loss": loss, "epochs": epochs, "scale": scale, "train_patches": patches, "refit": refit}
        request = request_from(model, cohort, shared, settings, **short)
        check_request(request)  # a mistyped name is found before the heavy imports

        from .experiments import run_and_show

        adopt([model])
        run_and_show(by_seed(request, seeds), tracking_from(shared), as_json, dry_run,
                     engine=engine_from(shared), test_cohorts=test_cohort or ())  # fmt: skip
