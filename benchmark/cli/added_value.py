"""`bench added-value`: what a model adds to age and sex."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options as o
from .label_options import with_label_options
from .mistakes import explained
from .output import print_json


@with_label_options
def added_value(
    experiment: Annotated[Path, typer.Argument(help="Folder of a finished experiment: results/experiments/ID.")],
    cohort: o.CohortName,
    labels_path: o.LabelsFile = None,
    covariates: Annotated[
        str | None,
        typer.Option("--covariates", help="Joined by commas.", show_default="those of the clinical baseline"),
    ] = None,
    fused: Annotated[
        Path | None,
        typer.Option("--fused", help="Write the risks of covariates and model together, for import-predictions."),
    ] = None,
    as_json: o.AsJson = False,
    **label_words: Any,
) -> None:
    """What an experiment adds to clinical covariates: likelihood ratio, gain in C-index, and C-index by subgroup.

    Covariates, and covariates with the model's risk, are Cox models nested in the folds of the experiment.
    """
    with explained():
        from dataclasses import asdict

        from ...datasets.labels.read import read_labels
        from ...datasets.own_cohorts.label_options import label_options
        from ...datasets.own_cohorts.typed_options import TypedOptions
        from ...errors import UsageError
        from ...files import write_whole
        from ...leaderboards.render.text_table import TextTable, p_value, signed
        from .. import console
        from ..baselines.added_value import of_experiment
        from .predictions import cohort_named

        named = cohort_named(cohort)
        table = labels_path or (named.file and named.file.path(named.file.labels))
        if table is None:
            raise UsageError("give the label table with --labels")
        labels = read_labels(table, named.cohort, label_options(TypedOptions(**label_words), named.file))
        added = of_experiment(experiment, labels, tuple((covariates or "").split(",")) if covariates else ())
        found, words = added.found, ", ".join(added.covariates)
        if fused is not None:
            lines = zip(added.patients, added.fold, found.fused, strict=True)
            write_whole(fused, "patient,fold,risk\n" + "".join(f"{p},{k},{float(risk)!r}\n" for p, k, risk in lines))
        if as_json:
            plain = asdict(found)
            del plain["fused"]
            groups = {
                name: {
                    value: dict(zip(("patients", "deaths", "c_index"), one, strict=True)) for value, one in of.items()
                }
                for name, of in added.groups.items()
            }
            print_json({"covariates": list(added.covariates), **plain, "groups": groups})
            return
        gain = found.gain
        rows = (
            (words, f"{found.clinic:.3f}"),
            ("the model", f"{found.risk:.3f}"),
            (f"{words}, the model", f"{found.both:.3f}"),
            ("gain over covariates", f"{signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}]"),
            ("likelihood ratio, p", f"{found.statistic:.1f}, {p_value(found.p)}"),
        )
        note = "Cox models nested in the folds. The gain and the likelihood ratio take the trained models as given."
        by = tuple(
            (name, value, str(n), str(deaths), console.number(c))
            for name, of in added.groups.items()
            for value, (n, deaths, c) in of.items()
        )
        shown = [TextTable(f"{experiment.name}: added value", ("", "C-index"), (False, True), rows, (note,))]
        if by:
            heads = ("By", "Value", "Patients", "Died", "C-index")
            shown.append(TextTable("Within subgroups", heads, (False, False, True, True, True), by))
        console.text_tables(shown)
        if fused is not None:
            console.say(f"Import: bench import-predictions {fused} --model NAME --cohort {cohort} --reads WORDS")
