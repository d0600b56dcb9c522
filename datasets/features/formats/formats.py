"""Which module reads a file of a general format, by its ending; .pt and .h5 have readers of their own."""

from pathlib import Path
from typing import Protocol

import numpy as np

from . import numpy_file, safetensors_file, text_file, zarr_store
from .matrix import MatrixHead


class Format(Protocol):
    """How one kind of file is read. All raise DataError, which names the file."""

    @staticmethod
    def look(path: Path) -> MatrixHead:
        """The head; numbers are not read where the format allows it."""
        ...

    @staticmethod
    def rows(path: Path, head: MatrixHead) -> np.ndarray:
        """The features (n, d), of any float type; mapped where the format allows it."""
        ...

    @staticmethod
    def corners(path: Path, head: MatrixHead) -> np.ndarray:
        """The coordinates (n, 2 or more); asked for only where the head says that there are some."""
        ...


H5 = (".h5", ".hdf5", ".h5ad")
PT = (".pt", ".pth")
_MODULES: tuple[tuple[tuple[str, ...], Format], ...] = (
    (numpy_file.SUFFIXES, numpy_file),  # type: ignore[assignment]
    (safetensors_file.SUFFIXES, safetensors_file),
    (text_file.SUFFIXES, text_file),
    (zarr_store.SUFFIXES, zarr_store),
)
GENERAL = {suffix: module for suffixes, module in _MODULES for suffix in suffixes}
SUFFIXES = (*H5, *PT, *GENERAL)
"""All that are read, the better first: .h5 holds coordinates where .pt holds none."""


def format_of(path: Path) -> Format | None:
    """The reader of a general format; None for .pt and .h5."""
    return GENERAL.get(path.suffix.lower())
