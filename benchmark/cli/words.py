"""The request that the words of a `bench run` command stand for, read and not run."""

from collections.abc import Sequence
from dataclasses import replace

import typer
from typer.main import get_command

from ..grid import seeded
from ..prepare import Request, UsageError
from .run import run, settings_from


def request_from(words: Sequence[str]) -> Request:
    """The request of `bench run WORDS`. Errors: `UsageError`, also where it asks for several seeds."""
    app = typer.Typer(add_completion=False)
    app.command()(run)
    try:
        found = get_command(app).make_context("bench run", list(words), resilient_parsing=False).params
    except Exception as error:  # click's own errors; a command that somebody sent may hold anything
        raise UsageError(str(error)) from error
    default = Request("", "")
    named = {key: found[key] for key in found if hasattr(default, key)}
    short = {key: found.pop(key, None) for key in ("loss", "epochs", "scale")}
    request = replace(default, **{**named, "settings": settings_from(found.get("settings"), **short)})
    requests = seeded(request, found["seeds"])
    if len(requests) != 1:
        raise UsageError(f"{len(requests)} seeds where one experiment has one")
    return requests[0]
