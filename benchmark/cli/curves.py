"""`bench curves`: what models reach as one dial of a planted cohort turns."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .mistakes import explained
from .output import print_json
from .request_options import OF_FILES, engine_from, request_from, tracking_from, with_request_options

if TYPE_CHECKING:
    from ...leaderboards.render.text_table import TextTable
    from ..inference.curves import Point, Reached, Score


@partial(with_request_options, without=OF_FILES)
def curves(
    dial: Annotated[
        list[str],
        typer.Option(
            "--dial",
            metavar="NAME=VALUE,VALUE,…",
            help="What the curves are drawn over: patients, strength, or a dial of `bench list dials`. Repeatable; the "
            "others have one value.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", help="Models and baselines, separated by commas.")],
    cohort: Annotated[str, typer.Option("--cohort", help="A planted cohort.")] = "planted-fine",
    draws: Annotated[int, typer.Option("--draws", help="Cohorts drawn at every value.", min=1)] = 5,
    loss: o.Loss = None,
    epochs: o.Epochs = None,
    scale: Annotated[str | None, typer.Option("--scale", help="Of single-scale models, separated by commas.")] = None,
    patches: o.Patches = None,
    refit: o.Refit = None,
    settings: o.Settings = None,
    as_json: o.AsJson = False,
    **shared: Any,
) -> None:
    """Draw learning curves on planted cohorts: models over the number of patients, or over any dial.

    Every point is the mean over several draws of the cohort, with its interval over them. Writes
    curves/COHORT-DIAL.csv, .md, .svg and .png into the output folder. Every cell is an experiment of its own: what is
    finished is not computed again, and the same command goes on where it stopped.
    """
    with explained():
        from ...errors import UsageError
        from ...files import file_name, write_whole
        from ...leaderboards.render import markdown
        from ...leaderboards.render.figures.curves import curves as figure
        from ...leaderboards.render.figures.style import save
        from ...models.registry import adopt
        from .. import console
        from ..inference.curves import (
            OPTIONS,
            cells_of,
            dial_values,
            half_of,
            oracle_points,
            points,
            reached,
            scores_of,
        )
        from ..results.folder import table
        from ..run import run_requests

        adopt([word.strip() for word in model.split(",")])
        name, values, fixed = dial_values(dial)
        short = {"epochs": epochs, "train_patches": patches, "refit": refit}
        first = request_from("meanpool", cohort, {**shared, "dial": ()}, settings, **short)
        if not cohort.lower().startswith("planted-"):
            raise UsageError(f"--cohort {cohort}: curves are drawn over planted cohorts; see `bench list cohorts`")
        cells = cells_of(first, model, name, values, fixed, draws, loss=loss, scale=scale)
        terminal = console.Terminal()
        finished = run_requests([cell.request for cell in cells], terminal, tracking_from(shared), engine_from(shared))
        scores = scores_of(cells, finished)
        if len(scores) < len(cells):
            console.fail(
                f"{len(cells) - len(scores)} of {len(cells)} cells have no C-index; the curves are without them"
            )
        if not scores:
            raise typer.Exit(1)
        curve, oracle = points(scores), oracle_points(scores)
        half = half_of(oracle)
        answers = (
            {
                one: tuple(
                    reached([(p.value, number) for p in of if (number := getattr(p, word)) is not None], half)
                    for word in ("mean", "high", "low")
                )
                for one, of in curve.items()
            }
            if name == "patients"
            else {}
        )
        given = [f"{one}={value}" for one in OPTIONS if one != name and (value := getattr(first, one)) is not None]
        given += [f"covariates={first.covariates}"] if first.covariates else []
        shape = [cohort.lower(), *fixed, *given]
        what = ", ".join(shape)
        shown = curves_table(f"{what}: C-index by {name}", name, curve, oracle, answers)
        stem = first.out / "curves" / file_name("-".join([*shape, name]))
        notes = "\n".join(f"> {markdown.escape(note)}" for note in shown.notes)
        write_whole(stem.with_name(f"{stem.name}.md"), f"# {markdown.escape(shown.title)}\n\n{notes}\n\n"
                    f"{markdown.table(shown)}\n")  # fmt: skip
        rows: list[dict[str, object]] = [_line(one, name) for one in scores]
        write_whole(stem.with_name(f"{stem.name}.csv"), table(rows))
        drawn = figure(
            {one: [(p.value, p.mean, p.low, p.high) for p in of] for one, of in curve.items()},
            [(p.value, p.mean, p.low, p.high) for p in oracle],
            name, what, log=min(half) > 0 and max(half) / min(half) >= 3,
        )  # fmt: skip
        for ending in ("svg", "png"):
            save(drawn, stem.with_name(f"{stem.name}.{ending}"))
        if as_json:
            print_json({"cells": rows, "half": {one: _words(found, max(half)) for one, found in answers.items()}})
        else:
            console.text_tables([shown])
            console.say(f"Curves:      {stem}.svg")
        if len(scores) < len(cells):
            raise typer.Exit(1)


def curves_table(
    title: str,
    dial: str,
    curve: "Mapping[str, Sequence[Point]]",
    oracle: "Sequence[Point]",
    answers: "Mapping[str, tuple[Reached, ...]]",
) -> "TextTable":
    """A row a model, a column a value of the dial, and at how many patients half of the oracle is reached."""
    from ...leaderboards.render.text_table import NONE, text_table

    values = [one.value for one in oracle]

    def cell(points: "Sequence[Point]", value: float) -> str:
        found = next((one for one in points if one.value == value), None)
        if found is None:
            return NONE
        interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
        return f"{found.mean:.3f}{interval}"

    rows = {"oracle": oracle, **curve}
    columns = [("Model", False, list(rows))]
    columns += [(f"{dial} {value:g}", True, [cell(of, value) for of in rows.values()]) for value in values]
    notes = [
        f"Mean C-index over the test folds at `selected`, then over {max(one.draws for one in oracle)} draws of the "
        "cohort; in brackets the 95 % t interval over draws. Simulated, not observed."
    ]
    if answers:
        columns.append(
            (
                "Half of the oracle",
                True,
                [_words(answers[one], max(values)) if one in answers else NONE for one in rows],
            )
        )
        notes.append(
            "Half of the oracle: with how many patients a model first has half of what the oracle has over 0.5, read "
            "between the numbers that were tried on a logarithmic scale; in brackets where the ends of the interval "
            "have it."
        )
    return text_table(title, columns, tuple(notes))


def _words(found: "Sequence[Reached]", most: float) -> str:
    """`320 [210, not reached]`; that the smallest number sufficed is said, and so is that the largest did not."""

    def one(of: "Reached") -> str:
        if of.value is None:
            return f"more than {most:g}"
        return f"{of.value:.0f} or fewer" if of.first else f"{of.value:.0f}"

    mean, high, low = found
    bounds = (one(high), one(low))
    return one(mean) + (f" [{', '.join(bounds)}]" if set(bounds) != {one(mean)} else "")


def _line(score: "Score", dial: str) -> dict[str, object]:
    return {
        "model": score.model, dial: score.value, "draw": score.draw, "experiment": score.experiment,
        "c_index": score.c_index, "oracle": score.oracle,
    }  # fmt: skip
