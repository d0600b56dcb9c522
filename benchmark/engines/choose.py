"""The engine that is asked for, by its name and its options."""

from ...errors import UsageError
from ..planning.load import Loader
from ..training.device import device_of
from .desk import Desk
from .engine import Engine
from .local import Local, cores, visible_gpus
from .options import Options
from .serial import Serial


def engine_of(options: Options, loader: Loader, device: str) -> Engine:
    """Start the engine; `device` is what the experiments ask for. Errors: `UsageError`."""
    if options.engine == "serial":
        if options.count not in (None, 1):
            raise UsageError(f"--engine serial computes one cell at a time: leave --jobs {options.jobs} out")
        return Serial(Desk(loader))
    gpus = visible_gpus() if device_of(device) == "cuda" else ()
    return Local(options.count or len(gpus) or cores(), gpus)
