"""Options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated, get_args

import typer

Model = Annotated[str, typer.Option("--model", help="A model or a baseline; `bench list models` names them.")]
CohortName = Annotated[
    str,
    typer.Option(
        "--cohort", help="A cohort of `bench list cohorts`, a folder with a cohort.toml, or a name of your own."
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option("--backbone", help="The patch encoder; may be left out where the features are of one only."),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        help="Folder, archive or table of features; repeatable: several are one cohort. Or `synthetic`: simulated.",
    ),
]
FeaturesFolders = Annotated[
    list[Path] | None,
    typer.Option("--features", help="Folder, archive or table of features; repeatable: several are one cohort."),
]
DeriveScales = Annotated[
    bool,
    typer.Option("--derive-scales", help="Derive 10x and 5x that are lacking from 20x features: means over cells."),
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Label table: text, xlsx or parquet, packed or not.")]
SplitsFolder = Annotated[
    Path | None, typer.Option("--splits", help="Folder with splits_0.csv, splits_1.csv, …, or folds in another form.")
]
Data = Annotated[
    Path,
    typer.Option("--data", help="Folder with COHORT/labels.csv, COHORT/splits/, COHORT/features/BACKBONE/."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="How to train: default, or reference.")]
Loss = Annotated[str | None, typer.Option("--loss", help="What training minimises; `bench list losses` names them.")]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Maximum number of epochs.")]
Scale = Annotated[
    int | None, typer.Option("--scale", help="The magnification a single-scale model reads: 5, 10, 20 or 40.")
]
Patches = Annotated[
    int | None,
    typer.Option("--patches", min=1, help="In training, draw about so many patches of the finest scale of each bag."),
]
Refit = Annotated[
    bool | None,
    typer.Option(
        "--refit", help="Once the epoch is chosen, train again on the whole training set.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field of the recipe or a hyperparameter."),
]
Endpoint = Annotated[str, typer.Option("--endpoint", help="os, dss, pfi, dfi, pfs or dfs, where the table has it.")]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns", help="What the columns of another table hold: patient=…,slide=…,time=…,event=…,unit=days."
    ),
]
Sheet = Annotated[str | None, typer.Option("--sheet", help="Which sheet of an Excel workbook.")]
SlideTable = Annotated[
    Path | None, typer.Option("--slide-table", help="Slide table: a second table with the slides of each patient.")
]
StatusWords = Annotated[
    str | None,
    typer.Option("--status-words", help="Words of the outcome: died=word|word; all others mean the other."),
]
TableMib = Annotated[int, typer.Option("--table-mib", help="The most MiB that a label table may unpack to.", min=1)]
Magnification = Annotated[
    int | None,
    typer.Option("--magnification", help="Of the features, where their files do not say it (CLAM).", min=1),
]
PatchPx = Annotated[
    int | None,
    typer.Option("--patch-px", help="Side of the patches, where one magnification was cut in several sizes.", min=1),
]
Coords = Annotated[
    Path | None, typer.Option("--coords", help="Folder of CLAM's patch files, if not beside the features.")
]
Repeats = Annotated[int, typer.Option("--repeats", help="How many times the cohort is divided into folds.", min=1)]
SplitBy = Annotated[
    str,
    typer.Option("--split-by", help="event: stratified; site: no tissue source site in both training and test set."),
]
Slides = Annotated[
    str, typer.Option("--slides", help="Several slides a patient: concat, first-dx, mean-risk or slide.")
]
Folds = Annotated[int, typer.Option("--folds", help="Number of folds, where none are given.", min=2, max=100)]
Seeds = Annotated[
    str,
    typer.Option("--seeds", "--seed", help="Seeds of weights, batches and the validation split, separated by commas."),
]
TestCohort = Annotated[
    list[str] | None,
    typer.Option(
        "--test-cohort", help="An external cohort to test every fold model on when the folds are done; repeatable."
    ),
]
SlideMpp = Annotated[
    str | None,
    typer.Option("--mpp", help="Microns per pixel of slides that do not say it, or a csv with slide and mpp."),
]
EncoderWeights = Annotated[
    Path | None,
    typer.Option("--weights", help="Of the encoder, where not in the Hugging Face cache: file or folder."),
]
Covariates = Annotated[
    str | None,
    typer.Option(
        "--covariates",
        help="Some of age, is_female, oncotree_code, site, stage, grade: a model is joined with them by late fusion, "
        "clinical-cox is fitted on them.",
        show_default="none; of clinical-cox age,is_female",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Missing = Annotated[str, typer.Option("--missing", help="error, or drop patients without features (they are listed).")]
UnusableTimes = Annotated[
    str, typer.Option("--unusable-times", help="error, or drop patients whose time is missing or not above zero.")
]
Strength = Annotated[
    str | None,
    typer.Option("--strength", help="Hazard of a simulated cohort: none, weak, medium, strong or a number."),
]
Dial = Annotated[
    list[str] | None,
    typer.Option(
        "--dial", metavar="NAME=VALUE", help="Of a planted cohort; `bench list dials` names them. Repeatable."
    ),
]
Patients = Annotated[int | None, typer.Option("--patients", help="Number of patients of a simulated cohort.", min=20)]
CohortSeed = Annotated[int, typer.Option("--cohort-seed", help="Seed of a simulated cohort.", min=0)]
KeepWeights = Annotated[
    str,
    typer.Option("--keep-weights", help="Weights to keep of every fold: some of selected,last,best, or none."),
]
Retrain = Annotated[
    bool, typer.Option("--retrain", help="Train finished folds again whose weights are not there (same results).")
]
CheckpointEvery = Annotated[
    str,
    typer.Option("--checkpoint-every", help="Time of training between two checkpoints: 90s, 10min, 2h, or never."),
]
Cache = Annotated[
    str,
    typer.Option("--cache", help="Memory that features may take, such as 32GiB; auto: half of what is free."),
]
NoWeights = Annotated[bool, typer.Option("--no-weights", help="The same as --keep-weights none.")]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="serial, local (processes of this machine), ray or slurm.",
        show_default="serial, or local with --jobs",
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        help="Folds computed at once: a number, or auto for as many as there are cores or GPUs.",
        show_default="1",
    ),
]
Tune = Annotated[
    int | None,
    typer.Option("--tune", metavar="N", help="Choose the settings of every fold among N, on its training set.", min=2),
]
TuneSeconds = Annotated[
    int | None,
    typer.Option("--tune-seconds", metavar="S", help="Or try settings for S seconds by fold.", min=1),
]
Inner = Annotated[
    str, typer.Option("--inner", help="Inner folds that compare settings, or `validation`: the validation split.")
]
TuneWorkers = Annotated[
    int, typer.Option("--tune-workers", help="Processes that share the trials of a fold; not repeatable.", min=1)
]
Cpus = Annotated[
    float | None,
    typer.Option("--cpus", help="Cores that a fold takes, on Ray or Slurm.", show_default="1"),
]
Gpus = Annotated[
    float | None,
    typer.Option("--gpus", help="GPUs that a fold takes; on Ray also a part of one.", show_default="0"),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Of a Ray cluster, HOST:PORT or auto.", show_default="one is started here"),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option("--slurm", metavar="KEY=VALUE", help="An option of sbatch: partition=long."),
]
Tracking = Annotated[
    str | None,
    typer.Option("--tracking", help="MLflow address; by default a local file in --out; `none` = off."),
]
Register = Annotated[
    str | None,
    typer.Option("--register", help="Register every fold's trained model in MLflow, as a version of this name."),
]
SystemMetrics = Annotated[
    bool, typer.Option("--system-metrics", help="Record the use of processor, memory, disk and GPU in MLflow, too.")
]
Wide = Annotated[bool, typer.Option("--wide", help="Tables with all columns, for a wide terminal or a pipe.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")]

PANELS = {
    "Labels, folds and features": (
        Backbone, Features, LabelsFile, SplitsFolder, Data, Endpoint, Columns, Sheet, SlideTable, StatusWords, TableMib,
        Magnification, PatchPx, Coords, DeriveScales, Folds, Repeats, SplitBy, Slides, Missing, UnusableTimes,
        Covariates, TestCohort,
    ),
    "Simulated cohorts": (Strength, Patients, CohortSeed, Dial),
    "Training": (RecipeName, Loss, Epochs, Scale, Patches, Refit, Settings, Seeds, Device),
    "Tuning": (Tune, TuneSeconds, Inner, TuneWorkers),
    "Where it is computed": (Engine, Jobs, Cpus, Gpus, Address, Slurm, Cache),
    "What is kept and recorded": (
        Out, KeepWeights, NoWeights, Retrain, CheckpointEvery, Tracking, Register, SystemMetrics,
    ),
}  # fmt: skip
"""Headings under which `--help` shows options, for commands that have dozens of them."""

for _panel, _options in PANELS.items():
    for _option in _options:
        get_args(_option)[1].rich_help_panel = _panel
