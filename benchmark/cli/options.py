"""Options that several commands share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", help="A model or a control; `bench list models` names them.")]
CohortName = Annotated[str, typer.Option("--cohort", help="A cohort; `bench list cohorts` names them.")]
Backbone = Annotated[
    str | None, typer.Option("--backbone", help="The patch encoder; not needed where only one lies there.")
]
Features = Annotated[
    str | None,
    typer.Option("--features", help="Folder of patch features, or `synthetic` for a drawn twin of the cohort."),
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Label table: csv, or zipped csv.")]
SplitsFolder = Annotated[Path | None, typer.Option("--splits", help="Folder with splits_0.csv, splits_1.csv, …")]
Data = Annotated[
    Path,
    typer.Option("--data", help="Folder with COHORT/labels.csv, COHORT/splits/, COHORT/features/BACKBONE/."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="How to train: default, or reference.")]
Loss = Annotated[str | None, typer.Option("--loss", help="nll, cox or ce.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="At most so many epochs.")]
Scale = Annotated[
    int | None, typer.Option("--scale", help="The magnification a single-scale model reads: 5, 10 or 20.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe or a hyperparameter."),
]
Endpoint = Annotated[str, typer.Option("--endpoint", help="os, dss, pfi or dfi, where the table has it.")]
Columns = Annotated[
    str | None,
    typer.Option("--columns", help="The columns of another table: patient=…,slide=…,time=…,event=…,unit=days."),
]
Magnification = Annotated[
    int | None, typer.Option("--magnification", help="Of the features, where their files do not say it (CLAM).")
]
PatchPx = Annotated[
    int | None, typer.Option("--patch-px", help="Of the features, where one magnification was cut in several sizes.")
]
Coords = Annotated[
    Path | None, typer.Option("--coords", help="Where CLAM's patch files lie, if not beside the features.")
]
Repeats = Annotated[int, typer.Option("--repeats", help="How many times the cohort is divided into folds.", min=1)]
SplitBy = Annotated[
    str, typer.Option("--split-by", help="event: stratified; site: no tissue-source site in two parts.")
]
Slides = Annotated[
    str, typer.Option("--slides", help="Several slides a patient: concat, first-dx, mean-risk or slide.")
]
Folds = Annotated[int, typer.Option("--folds", help="Folds to draw where none are given.", min=2, max=100)]
Seeds = Annotated[
    str,
    typer.Option(
        "--seeds", "--seed", help="Seeds of weights, batches and the inner validation part, separated by commas."
    ),
]
Covariates = Annotated[
    str | None,
    typer.Option("--covariates", help="Of clinical-cox: some of age, is_female, oncotree_code, site."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Missing = Annotated[str, typer.Option("--missing", help="error, or drop patients without features (they are listed).")]
UnusableTimes = Annotated[
    str, typer.Option("--unusable-times", help="error, or drop patients whose time is missing or not above zero.")
]
Strength = Annotated[
    str | None,
    typer.Option("--strength", help="Hazard of a drawn cohort: none, weak, medium, strong or a number."),
]
Patients = Annotated[int | None, typer.Option("--patients", help="How many patients a drawn cohort has.", min=20)]
CohortSeed = Annotated[int, typer.Option("--cohort-seed", help="Which draw of a drawn cohort.", min=0)]
Tracking = Annotated[
    str | None,
    typer.Option("--tracking", help="MLflow address; by default a local file in --out; `none` = off."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")]
