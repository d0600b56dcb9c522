"""The device that a user names, and whether it is there."""

from ...errors import UsageError
from ...names import check_choice


def device_of(name: str) -> str:
    """`auto` becomes `cuda` where there is one. Errors: `UsageError` for a device that is not there."""
    import torch

    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
