"""One cohort written as each tool writes it: dataset names, types, chunks, attributes, folders. Shared by tests."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from milsurv.datasets.features.store import write_slide

MPP = 0.25
Scales = Mapping[int, np.ndarray]
PX = 256


def side(m: int) -> int:
    """Of a patch in level-0 pixels, on a 40x slide."""
    return PX * 40 // m


def trident_attrs(m: int, slide: str) -> dict[str, object]:
    return {
        "patch_size": PX, "patch_size_level0": side(m), "level0_magnification": 40, "target_magnification": m,
        "overlap": 0, "name": slide, "savetodir": "None", "level0_width": 200_000, "level0_height": 200_000,
        "extra": json.dumps({"reader": "openslide"}), "mask": "None",
    }  # fmt: skip


def trident_file(path: Path, features: np.ndarray, coords: np.ndarray, m: int, encoder: str = "mine") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        chunks = (1, *features.shape[1:]) if features.size else None
        data = file.create_dataset("features", data=features, chunks=chunks)
        data.attrs.update({"name": path.stem, "savetodir": str(path.parent), "encoder": encoder})
        where = file.create_dataset("coords", data=coords.astype(np.int64))
        where.attrs.update(trident_attrs(m, path.stem))


def write_trident(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        scale = root / f"{m}x_{PX}px_0px_overlap"
        trident_file(scale / f"features_{encoder}" / f"{slide}.h5", matrix, coords[m], m, encoder)
        patches = scale / "patches" / f"{slide}_patches.h5"
        patches.parent.mkdir(exist_ok=True)
        with h5py.File(patches, "w") as file:
            file.create_dataset("coords", data=coords[m].astype(np.int64)).attrs.update(trident_attrs(m, slide))
    return root


def patch_file(path: Path, coords: np.ndarray, m: int, downsample: float = 1.0) -> None:
    """CLAM's patches/<slide>.h5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("coords", data=coords.astype(np.int64), maxshape=(None, 2))
        data.attrs.update({
            "patch_size": int(side(m) / downsample), "patch_level": 0, "downsample": (downsample, downsample),
            "downsampled_level_dim": (200_000, 200_000), "level_dim": (200_000, 200_000), "name": path.stem,
            "save_path": "somewhere",
        })  # fmt: skip


def clam_file(path: Path, features: np.ndarray, coords: np.ndarray | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        chunks = (min(32, len(features)), features.shape[1]) if features.size else None
        maxshape = (None, features.shape[1]) if features.size else None
        file.create_dataset("features", data=features.astype(np.float32), chunks=chunks, maxshape=maxshape)
        if coords is not None:
            file.create_dataset("coords", data=coords.astype(np.int32))


def save(path: Path, tensor: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensor, path)


def write_clam(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        home = root / encoder / f"{m}x"
        clam_file(home / "h5_files" / f"{slide}.h5", matrix, coords[m])
        save(home / "pt_files" / f"{slide}.pt", torch.from_numpy(matrix.astype(np.float32)))
    return root / encoder


def write_clam_pt(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        home = root / encoder / f"x{m}"
        save(home / "pt_files" / f"{slide}.pt", torch.from_numpy(matrix.astype(np.float32)))
        patch_file(home / "patches" / f"{slide}.h5", coords[m], m)
    return root / encoder


def write_reference(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        save(root / "pt" / encoder / f"x{m}" / "pt_files" / f"{slide}.pt", torch.from_numpy(matrix.astype(np.float32)))
        patch_file(root / "h5" / f"x{m}" / "patches" / f"{slide}.h5", coords[m], m)
    return root / "pt" / encoder


def write_panther(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        path = root / f"extracted_mag{m}x_patch{PX}_fp" / f"extracted-{encoder}" / "feats_h5" / f"{slide}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"] = matrix[None].astype(np.float32)
            file["coords"] = coords[m][None].astype(np.int32)
    return root


def write_panther_pt(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        home = root / f"extracted_mag{m}x_patch{PX}_fp" / f"extracted-{encoder}" / "feats_pt"
        save(home / f"{slide}.pt", torch.from_numpy(matrix.astype(np.float32))[None])
    return root


def write_stamp(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    for m, matrix in features.items():
        path = root / f"um{PX * 10 // m}" / f"{encoder}-0a1b2c3d" / "some" / f"{slide}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["coords"] = (coords[m] * MPP).astype(np.float32)
            file["feats"] = matrix.astype(np.float16)
            file.attrs.update({
                "stamp_version": "2.5.0", "extractor": encoder, "unit": "um", "tile_size_um": PX * 10 / m,
                "tile_size_px": PX, "code_hash": "0a1b2c3d", "feat_type": "tile",
            })  # fmt: skip
    return root


def write_store(root: Path, slide: str, features: Scales, coords: Scales, encoder: str = "mine") -> Path:
    write_slide(root, slide, features, coords, backbone=encoder, patch_px=PX, mpp=MPP)
    return root


Writer = Callable[..., Path]
WRITERS: dict[str, Writer] = {
    "store": write_store,
    "trident": write_trident,
    "clam": write_clam,
    "clam-pt": write_clam_pt,
    "reference": write_reference,
    "panther": write_panther,
    "panther-pt": write_panther_pt,
    "stamp": write_stamp,
}
