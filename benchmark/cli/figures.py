"""`bench figures`: the figures of a paper."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .mistakes import explained
from .output import print_json


def figures(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Folders with results or entries.", show_default="results")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the figures.")] = Path("figures"),
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            help="km, forest, cd, calibration, brier, auc, ablation or optimism; may be repeated.",
            show_default="all",
        ),
    ] = None,
    cohort: Annotated[list[str] | None, typer.Option("--cohort", help="Only these cohorts.")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Lines whose curves are drawn.", show_default="the first six")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Of the ablation: MODEL[@BACKBONE].", show_default="the first"),
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="svg, pdf or png, separated by commas.")] = "svg,pdf",
    published: Annotated[bool, typer.Option("--published", help="With the entries that come with milsurv.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Draw Kaplan-Meier, forest, critical-difference, calibration, Brier, AUC, ablation and optimism figures.

    They follow from the rows alone: the same rows give the same bytes.
    """
    with explained():
        from ...leaderboards.entries.joined import PUBLISHED
        from ...leaderboards.figure_set import KINDS, FigureOptions, read_clinical, write_figures
        from ...leaderboards.publish import gather
        from ...names import check_choice
        from .. import console

        for word in kind or ():
            check_choice("kind", word, KINDS)
        chosen = [word.strip() for word in formats.split(",") if word.strip()]
        for word in chosen:
            check_choice("format", word, ("svg", "pdf", "png"))
        folders = results or ([] if published else [Path("results")])
        folders = [inside if (inside := path / "experiments").is_dir() else path for path in folders]
        folders += [PUBLISHED] if published and PUBLISHED.is_dir() else []
        needs = not kind or bool({"cd", "ablation", "forest"} & set(kind))
        found = gather(folders, evidence=needs)
        for problem in found.problems:
            console.warn(f"{problem.where}: {problem.message}")
        options = FigureOptions(tuple(kind or ()), tuple(cohort or ()), tuple(model or ()), baseline)
        written = write_figures(found, read_clinical(folders), out, options, chosen)
        if as_json:
            print_json({"figures": [str(path) for path in written.paths], "undrawn": list(written.undrawn)})
        else:
            for path in written.paths:
                console.say(str(path))
            for reason in written.undrawn:
                console.warn(f"not drawn: {reason}")
        if not written.paths:
            console.fail("no figure could be drawn: no complete experiment fits")
            raise typer.Exit(1)
