"""The request that the words of a `bench run` command stand for, read and not run."""

from collections.abc import Sequence

import typer
from typer.main import get_command

from ...errors import UsageError
from ..grid import by_seed
from ..request import Request
from .request_options import request_from
from .run import run


def parse_run(words: Sequence[str]) -> Request:
    """The request of `bench run WORDS`. Errors: `UsageError`, also where it asks for several seeds."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    try:
        found = get_command(app).make_context("bench run", list(words), resilient_parsing=False).params
    except Exception as error:  # click's own errors; a command that somebody sent may hold anything
        raise UsageError(str(error)) from error
    short = {key: found.get(key) for key in ("loss", "epochs", "scale")}
    request = request_from(found["model"], found["cohort"], found, found.get("settings"), **short)
    requests = by_seed(request, found["seeds"])
    if len(requests) != 1:
        raise UsageError(f"{len(requests)} seeds where one experiment has one")
    return requests[0]
