"""`bench list`: what is known."""

from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json


def list_(
    what: Annotated[
        str,
        typer.Argument(
            help="models, cohorts, dials, backbones, losses, recipes, tuning or metrics; all when left out."
        ),
    ] = "all",
    as_json: o.AsJson = False,
) -> None:
    """List what is known: models, cohorts, dials, backbones, losses, recipes, what is tuned, metrics."""
    with explained():
        from ...names import check_choice
        from .. import catalogue, console

        if what != "all":
            check_choice("list", what, catalogue.LISTS)
        chosen = list(catalogue.LISTS) if what == "all" else [what]
        listed = {name: catalogue.LISTS[name]() for name in chosen}
        if as_json:
            print_json(listed)
            return
        for name, rows in listed.items():
            console.listing(name.capitalize(), rows)
