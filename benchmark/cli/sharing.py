"""`bench export` and `bench import-model`: trained models to share."""

from pathlib import Path
from typing import Annotated

import typer

from . import options as o
from .evaluate import Experiment, Foreign
from .mistakes import explained
from .output import print_json

Endpoint = Annotated[
    str | None, typer.Option("--hub", envvar="HF_ENDPOINT", help="Address of the hub.", show_default="Hugging Face")
]


def export(
    experiment: Experiment,
    to: Annotated[Path, typer.Option("--to", help="Folder for the model; empty, or an earlier export.")],
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, as the hub writes it.")] = "other",
    script: Annotated[
        bool, typer.Option("--torchscript", help="Also as TorchScript, for programs without milsurv, where it can be.")
    ] = False,
    push: Annotated[
        str | None, typer.Option("--push", metavar="USER/NAME", help="Upload it to a hub, as a private repository.")
    ] = None,
    hub: Endpoint = None,
    model: Foreign = None,
    as_json: o.AsJson = False,
) -> None:
    """Write the fold models of an experiment as a folder to share: safetensors, config and model card. No patients."""
    with explained():
        from .. import console
        from ..inference import sharing
        from ..inference.ensemble import load_ensemble

        files = sharing.export(load_ensemble(experiment, model=model), to, licence, script)
        address = sharing.push(to, push, hub) if push else None
        if as_json:
            print_json({"folder": str(to), "files": [str(one.relative_to(to)) for one in files], "pushed": address})
            return
        console.say(f"{to}: {len(files)} files" + (f", pushed to {address}" if address else ""))


def import_model(
    source: Annotated[str, typer.Argument(help="A folder that `bench export` wrote, or USER/NAME of a hub.")],
    out: o.Out = Path("results"),
    hub: Endpoint = None,
    as_json: o.AsJson = False,
) -> None:
    """Bring a shared model back as an experiment: evaluate, predict and heatmap take it as any other."""
    with explained():
        import tempfile

        from .. import console
        from ..inference import sharing

        if Path(source).is_dir():
            folder = sharing.import_model(Path(source), out)
        else:
            with tempfile.TemporaryDirectory() as place:
                folder = sharing.import_model(sharing.pull(source, Path(place), hub), out)
        if as_json:
            print_json({"experiment": folder.name, "folder": str(folder)})
            return
        console.say(f"{folder}. Next: bench predict {folder} --features FOLDER")
