"""The engine that is asked for, by its name and its options."""

from ...errors import UsageError
from ..training.device import device_of
from .desk import Desk
from .engine import Engine
from .local import Local, cores, visible_gpus
from .options import Options
from .serial import Serial


def engine_of(options: Options, desk: Desk, device: str) -> Engine:
    """Start the engine. Errors: `UsageError`.

    desk: where the engine of this process computes; device: what the experiments ask for.
    """
    if options.engine == "serial":
        if options.count not in (None, 1):
            raise UsageError(f"--engine serial computes one cell at a time: leave --jobs {options.jobs} out")
        return Serial(desk)
    gpus = visible_gpus() if device_of(device) == "cuda" else ()
    return Local(options.count or len(gpus) or cores(), gpus)
