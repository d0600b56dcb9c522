"""`bench demo`: the whole way from slides to a leaderboard, with nothing downloaded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json
from .render import RenderedArea, RenderedPatients, RenderedSeed

if TYPE_CHECKING:
    from ..demo import Learned


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for slides, features and results.")] = Path("demo"),
    patients: RenderedPatients = None,
    seed: RenderedSeed = 0,
    area: RenderedArea = 0.5,
    tracking: o.Tracking = None,
    as_json: o.AsJson = False,
) -> None:
    """Render slides, extract their features, train ABMIL and CrossFusion, and show the board. Nothing is downloaded.

    Typed again, it skips what is done.
    """
    with explained():
        from .. import console
        from ..demo import MODELS, Demo, draw, embed, learned
        from ..run import run
        from .experiments import publish_results, show_folds, show_places

        asked = Demo(out, patients, seed, area)
        console.say(f"1 of 4  rendering slides into {asked.data}")
        with console.counting("rendering") as count:
            draw(asked, count)
        console.say(f"2 of 4  extracting features into {asked.features}")
        rows = embed(asked, console.extracting)
        terminal, finished = console.Terminal(), []
        for step, model in enumerate(MODELS, 3):
            console.say(f"{step} of 4  training {model}")
            finished.append(run(asked.request(model), terminal, tracking))
        published = publish_results(asked.results)
        found = learned(asked, finished)
        if as_json:
            print_json({"out": str(out), **vars(found)})
        else:
            for one in finished:
                show_folds(one, asked.results)
            show_places(published, asked.results, tracking)
            _close(found)
        failed = [row for row in rows if row["status"] == "failed"]
        if failed or not (published and all(one.complete for one in finished)):
            raise typer.Exit(1)


def _close(found: "Learned") -> None:
    """The closing lines: models against the truth and against chance, and how little so few patients prove."""
    from .. import console

    console.say(f"\n{found.patients} patients, {found.slides} slides, {found.events} deaths; C-index, mean over folds:")
    for name, score in (*found.c_index.items(), ("oracle", found.oracle)):
        note = "the true risks: exceeded only by luck" if name == "oracle" else "learned from pixels"
        console.say(f"  {name:<12} {console.number(score)}   {note}")
    low, high = 0.5 - found.chance, 0.5 + found.chance
    console.say(f"  {'no skill':<12} 0.500   95 % of such means fall between {low:.3f} and {high:.3f}")
    console.say("So few patients show that a model has skill, but hardly which of two good models is better.")
