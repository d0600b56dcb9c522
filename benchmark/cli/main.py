"""The `bench` command line. Heavy imports stay inside the commands, so that `bench --help` is quick.

Exit status: 0 done, 1 something failed, 2 the request or its input cannot be used as given, 128 and the number of the
signal where one ended it (130 after Ctrl-C, 143 after SIGTERM).
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import cleandoc
from typing import Annotated, Any

import typer

from ...errors import Remark
from ...version import __version__
from ..training.interruption import STOP
from .ablate import ablate
from .added_value import added_value
from .checkpoint import import_checkpoint
from .compare import compare
from .curves import curves
from .data import data_app
from .demo import demo
from .evaluate import evaluate
from .extract import extract
from .features import features_app
from .figures import figures
from .heatmap import heatmap
from .leaderboard import leaderboard_app
from .listing import list_
from .mistakes import Failure
from .predict import predict
from .predictions import import_predictions
from .report import report
from .run import run
from .sharing import export, import_model
from .status import status
from .transfer import transfer

app = typer.Typer(
    name="bench",
    help="Compare multiple-instance-learning survival models on whole slide images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"milsurv {__version__}")
        raise typer.Exit


@app.callback()
def bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version of milsurv.")
    ] = False,
) -> None:
    """Compare multiple-instance-learning survival models on whole slide images."""


app.command("run")(run)
app.command("ablate")(ablate)
app.command("demo")(demo)
app.command("extract")(extract)
app.add_typer(leaderboard_app)
app.command("list")(list_)
app.command("status")(status)
app.command("import-checkpoint")(import_checkpoint)
app.add_typer(data_app)
app.add_typer(features_app)
app.command("import-predictions")(import_predictions)
app.command("compare")(compare)
app.command("added-value")(added_value)
app.command("evaluate")(evaluate)
app.command("transfer")(transfer)
app.command("curves")(curves)
app.command("predict")(predict)
app.command("heatmap")(heatmap)
app.command("report")(report)
app.command("export")(export)
app.command("import-model")(import_model)
app.command("figures")(figures)

for part in (app, leaderboard_app, data_app, features_app):
    for command in part.registered_commands:  # typer would keep the line breaks of the source
        paragraphs = cleandoc(command.help or (command.callback and command.callback.__doc__) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def main() -> None:
    """Entry point of `bench`."""
    # Set before torch starts: reproducible matrix products on a GPU need it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _open_standard_streams()
    with STOP.listening(), remarks_shown(), _flushed():
        try:
            app()
        except Failure as failure:
            from ..console import fail

            fail(str(failure))
            sys.exit(failure.status)
        except SystemExit as end:
            if end.code and STOP.reason:
                sys.exit(STOP.status)
            raise


def _open_standard_streams() -> None:
    """Where a shell closed standard input or output (`>&-`), no file that is opened later may take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


@contextmanager
def _flushed() -> Iterator[None]:
    """Write what was printed while somebody can still be told that it cannot be: a full disk, a reader that is gone."""
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again, and shows how
            from ..console import fail

            fail(f"standard output cannot be written: {error.strerror}")
            sys.exit(1)


@contextmanager
def remarks_shown() -> Iterator[None]:
    """While the block runs, a `Remark` is a line for people, and other warnings stay as Python shows them."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, Remark):
            return plain(message, category, *where, **more)
        from ..console import note

        return note(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        plain, warnings.showwarning = warnings.showwarning, show
        yield


if __name__ == "__main__":
    main()
