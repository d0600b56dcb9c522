"""`bench transfer`: every cohort as a training set for every other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options as o
from .mistakes import explained
from .output import print_json
from .request_options import engine_from, request_from, tracking_from, with_request_options

if TYPE_CHECKING:
    from ..inference.transfer import Cell


@with_request_options
def transfer(
    cohorts: Annotated[str, typer.Option("--cohorts", help="Two cohorts or more, separated by commas.")],
    model: Annotated[str, typer.Option("--model", help="Models, separated by commas.")],
    loss: o.Loss = None,
    epochs: o.Epochs = None,
    scale: o.Scale = None,
    settings: o.Settings = None,
    as_json: o.AsJson = False,
    **shared: Any,
) -> None:
    """Train on each cohort and test on every other; then train on all but one and test on that one.

    Writes transfer/MODEL.md, .csv and .svg into the output folder: a row for what was trained on, a column for what was
    tested on. Finished experiments are not trained again.
    """
    with explained():
        from ...errors import UsageError
        from ...models.registry import adopt
        from .. import console
        from ..planning.resolve import check_request

        if shared.get("labels_path") or shared.get("splits_path"):
            raise UsageError("--labels and --splits are of one cohort: name folders with a cohort.toml in --cohorts")
        names = [word.strip() for word in cohorts.split(",") if word.strip()]
        models = list(dict.fromkeys(word.strip() for word in model.split(",") if word.strip()))
        firsts = [
            request_from(name, names[0] if names else "", shared, settings, loss=loss, epochs=epochs, scale=scale)
            for name in models
        ]
        for first in firsts:  # a mistyped name is found before the heavy imports
            check_request(first)

        from ...names import joined_name
        from ..baselines.covariates import parse_covariates
        from ..inference.external_test import ExternalTest
        from ..inference.transfer import external_tests, internal_cell, requests_of, tested, without_one
        from ..run import run_requests
        from .experiments import publish_results

        adopt(models)
        terminal, out, found = console.Terminal(), shared["out"], []
        for model_name, first in zip(models, firsts, strict=True):
            name = joined_name(model_name, parse_covariates(first.covariates) if first.covariates else ())
            requests = requests_of(first, names)
            for pair in external_tests(requests):
                pair.check()
            with terminal.counting("simulating") as counter:
                joined = [without_one(requests, k, counter) for k in range(len(names))] if len(names) > 2 else []
            finished = run_requests([*requests, *joined], terminal, tracking_from(shared), engine_from(shared))
            if not all(one.complete for one in finished):
                console.fail(f"{name}: a fold failed, so that its transfer is not known; see above")
                continue
            cells = []
            for k, request in enumerate(requests):
                others = [place for place in range(len(requests)) if place != k]
                results = [
                    tested(request, finished[k], ExternalTest(request, requests[place].cohort).tested, name)
                    for place in others
                ]
                own = results[0][1]
                cells += [internal_cell(name, own.trained_on, own), *(cell for cell, _ in results)]
            for k, request in enumerate(joined):
                cell, _ = tested(request, finished[len(requests) + k], requests[k], name, others=True)
                cells.append(cell)
            found.append((name, cells))
        published = publish_results(out)
        if as_json:
            print_json([_json(cell) for _, cells in found for cell in cells])
        for name, cells in found:
            _write(name, cells, out, as_json)
        if published and not as_json:
            console.say(f"Leaderboard: {published.paths['html']}")
        if not published or len(found) < len(set(model.split(","))):
            raise typer.Exit(1)


def _json(cell: "Cell") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(cell)


def _write(name: str, cells: "Sequence[Cell]", out: Any, quiet: bool) -> None:
    """The matrix of one model as Markdown, CSV and figure, and on the screen."""
    from ...files import file_name, write_whole
    from ...leaderboards.render import markdown
    from ...leaderboards.render.external import transfer_table
    from ...leaderboards.render.figures.style import save
    from ...leaderboards.render.figures.transfer import transfer as figure
    from .. import console
    from ..results.folder import table

    columns = list(dict.fromkeys(cell.tested_on for cell in cells))
    rows = list(dict.fromkeys(cell.trained_on for cell in cells))
    values = {(cell.trained_on, cell.tested_on): cell.c_index for cell in cells}
    shown = transfer_table(name, rows, columns, values)
    folder, stem = out / "transfer", file_name(name)
    write_whole(
        folder / f"{stem}.md", f"# {markdown.escape(shown.title)}\n\n{markdown.table(shown)}\n\n{shown.notes[0]}\n"
    )
    lines = []
    for cell in cells:
        line: dict[str, object] = {"model": cell.model, "trained_on": cell.trained_on, "tested_on": cell.tested_on}
        for word in ("c_index", "drop", "ensemble"):
            if (one := getattr(cell, word)) is not None:
                line |= {word: one.value, f"{word}_low": one.low, f"{word}_high": one.high}
        lines.append(line)
    write_whole(folder / f"{stem}.csv", table(lines))
    numbers = {key: (one.value, one.low, one.high) for key, one in values.items() if one is not None}
    save(
        figure(rows, columns, numbers, f"{name}: C-index, trained on one cohort and tested on another"),
        folder / f"{stem}.svg",
    )
    if not quiet:
        console.text_tables([shown])
        console.say(f"Transfer:    {folder / stem}.svg")
