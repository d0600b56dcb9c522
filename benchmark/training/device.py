"""The device that a user names, and whether it is there."""

from ...errors import UsageError
from ...names import check_choice


def device_of(name: str, elsewhere: str | None = None) -> str:
    """`auto` becomes `cuda` where there is one. Errors: `UsageError` for a device that is not there.

    elsewhere: the device of other machines, where they compute.
    """
    import torch

    check_choice("device", name, ("auto", "cpu", "cuda"))
    if elsewhere is not None:
        if name == "cuda" and elsewhere != "cuda":
            raise UsageError("--device cuda: ask for GPUs of the machines that compute, --gpus 1")
        return elsewhere if name == "auto" else name
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
