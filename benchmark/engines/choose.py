"""The engine that is asked for, by its name and its options."""

from pathlib import Path

from ...errors import UsageError
from .engine import Engine
from .local import Local, cores, visible_gpus
from .options import Options
from .ray import Ray
from .serial import Serial
from .slurm import Slurm
from .worker import Worker


def engine_of(options: Options, worker: Worker, device: str, out: Path) -> Engine:
    """Start the engine. Errors: `UsageError`.

    worker: where the engine of this process computes; device: what the experiments ask for; out: the results folder.
    """
    count, cpus, gpus = options.count, options.cpus or 1.0, options.gpus or 0.0
    match options.engine:
        case "serial":
            if count not in (None, 1):
                raise UsageError(f"--engine serial computes one cell at a time: leave --jobs {options.jobs} out")
            return Serial(worker)
        case "local":
            found = visible_gpus() if device == "cuda" else ()
            return Local(count or len(found) or cores(), found)
        case "ray":
            return Ray(count or None, options.address, cpus, gpus)
        case _:
            settings = dict(_pair(text) for text in options.slurm or ())
            return Slurm((out / "slurm").absolute(), count or None, cpus, gpus, settings)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip("-"):
        raise UsageError(f"--slurm {text}: expected KEY=VALUE, such as partition=long")
    return key.strip("-"), value
