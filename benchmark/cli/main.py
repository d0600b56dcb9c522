"""The `bench` command line. Heavy imports stay inside the commands, so that `bench --help` is quick.

Exit status: 0 done, 1 something failed, 2 the request or its input cannot be used as given.
"""

import os
import signal
import sys
from typing import NoReturn

import typer

from .ablate import ablate
from .checkpoint import import_checkpoint
from .compare import compare
from .data import data_app
from .demo import demo
from .extract import extract
from .features import features_app
from .figures import figures
from .leaderboard import leaderboard_app
from .listing import list_
from .mistakes import Failure
from .predictions import import_predictions
from .run import run

app = typer.Typer(
    name="bench",
    help="Compare multiple-instance-learning survival models on whole slide images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run)
app.command("ablate")(ablate)
app.command("demo")(demo)
app.command("extract")(extract)
app.add_typer(leaderboard_app)
app.command("list")(list_)
app.command("import-checkpoint")(import_checkpoint)
app.add_typer(data_app)
app.add_typer(features_app)
app.command("import-predictions")(import_predictions)
app.command("compare")(compare)
app.command("figures")(figures)


def _stop(signum: int, frame: object) -> NoReturn:
    """A scheduler's SIGTERM ends a run as Ctrl-C does: what is finished stays, and MLflow is told."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `bench`."""
    # Asked for before torch starts: reproducible matrix products on a GPU need it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except Failure as failure:
        from ..console import fail

        fail(str(failure))
        sys.exit(failure.status)


if __name__ == "__main__":
    main()
