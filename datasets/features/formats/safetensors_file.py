"""`<slide>.safetensors`: named tensors with a header that is read alone; no code is run."""

from pathlib import Path

import numpy as np

from ....errors import DataError
from . import matrix
from .matrix import AGAIN, MatrixHead

SUFFIXES = (".safetensors",)
_KINDS = {"F": "f", "B": "f", "I": "i", "U": "u"}  # BF16 is a float


def look(path: Path) -> MatrixHead:
    """The header."""
    try:
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            arrays = {}
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                part = file.get_slice(name)
                kind = part.get_dtype()
                arrays[name] = (tuple(part.get_shape()), "b" if kind == "BOOL" else _KINDS.get(kind[0], kind), kind)
            said = dict(file.metadata() or {})
    except Exception as error:
        raise _unreadable(path, error) from error
    return matrix.head(path, arrays, said)


def rows(path: Path, head: MatrixHead) -> np.ndarray:
    """The features."""
    return _read(path, head.at["features"]).reshape(head.shape)


def corners(path: Path, head: MatrixHead) -> np.ndarray:
    """The coordinates."""
    return _read(path, head.at["coords"])


def _read(path: Path, name: str) -> np.ndarray:
    try:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:  # numpy has no bfloat16
            tensor = file.get_tensor(name)
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return DataError(f"{path} is truncated or damaged ({brief}). {AGAIN}")
