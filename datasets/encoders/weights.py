"""Weights: found in the user's Hugging Face cache or at a path, read as data, and fitted to their architecture
exactly.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import DataError, some
from ..backbones import Backbone

FILES = ("model.safetensors", "pytorch_model.bin")


def locate(backbone: Backbone, repository: str, given: Path | None) -> Path:
    """The file of the weights: `given` (a file, or a folder with one of FILES), or in the Hugging Face cache.

    DataError says how to get them. Nothing is downloaded.
    """
    if given is not None:
        found = next((given / name for name in FILES if (given / name).is_file()), None) if given.is_dir() else given
        if found is None or not found.is_file():
            raise DataError(
                f"--weights {given}: no such file{', nor ' + ' or '.join(FILES) + ' in it' * given.is_dir()}."
            )
        return found
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    for name in FILES:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    page = f"https://huggingface.co/{repository}"
    asked = (
        f"Request access at {page}, log in with `hf auth login`, then run" if backbone.gated else f"From {page}: run"
    )
    raise DataError(
        f"{backbone.title}: its weights are not in your Hugging Face cache ({HF_HUB_CACHE}). {asked} "
        f"`hf download {repository}`, or give --weights FILE."
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; no code in it is run. DataError if it is damaged or no checkpoint."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated and foreign files raise nearly anything
        # What torch says of it is left out: it advises to run the code in it.
        raise DataError(
            f"{path} cannot be read as weights: it is truncated, damaged, or no checkpoint of plain tensors. Download "
            f"it again."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path} holds no weights: it is not a table of tensors by name.")
    return dict(state)


def fit(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into their module, every one of them in float32. DataError if names, shapes or values do not fit."""
    wanted = module.state_dict()
    missing, foreign = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = [
        f"{len(names)} {what} ({some(names, 3)})"
        for names, what in ((missing, "missing"), (foreign, "unknown"), (wrong, "of the wrong shape"))
        if names
    ]
    if faults:
        raise DataError(f"{path} holds the weights of another network: {'; '.join(faults)}.")
    single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    check_finite(single, path)
    module.load_state_dict(single, assign=True)


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """DataError names weights that are NaN or infinite."""
    if bad := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise DataError(f"{path} holds NaN or infinite weights ({some(bad, 3)}): download it again.")


def fingerprint_of(*paths: Path) -> str:
    """16 hex digits that tell a file of weights, and what else decides about the network, from any other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
