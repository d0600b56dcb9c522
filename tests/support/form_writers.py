"""One slide's features as notebooks, portals and other fields write them: a function a form. Shared by tests."""

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from feature_writers import trident_file
from safetensors.numpy import save_file


def npy(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    np.save(folder / f"{slide}.npy", x)


def npz(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    np.savez(folder / f"{slide}.npz", features=x, coords=where, magnification=20, encoder="mine")


def pt(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    torch.save(torch.from_numpy(x), folder / f"{slide}.pt")


def pth_dict(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    torch.save({"feats": torch.from_numpy(x), "coords": torch.from_numpy(where), "encoder": "mine"},
               folder / f"{slide}.pth")  # fmt: skip


def safetensors(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    save_file({"embeddings": x, "coords": where}, folder / f"{slide}.safetensors", {"magnification": "20"})


def dsmil(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    with (folder / f"{slide}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([range(x.shape[1]), *x.tolist()])


def parquet(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    columns = {f"feat_{i}": x[:, i] for i in range(x.shape[1])} | {"x": where[:, 0], "y": where[:, 1]}
    pq.write_table(pa.table(columns), folder / f"{slide}.parquet")


def parquet_lists(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    pq.write_table(pa.table({"features": x.tolist(), "coords": where.tolist()}), folder / f"{slide}.parquet")


def hdf5(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    trident_file(folder / f"{slide}.h5", x, where, 20)
    (folder / f"{slide}.h5").rename(folder / f"{slide}.hdf5")


def embeddings(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    with h5py.File(folder / f"{slide}.h5", "w") as file:
        file["embeddings"], file["coordinates"] = x, where


def annotated(x: np.ndarray, **more: object):
    """An AnnData whose names are plain objects: its writer does not know the strings of pandas 3."""
    import pandas as pd
    from anndata import AnnData

    with pd.option_context("future.infer_string", False):
        obs = pd.DataFrame({"tile_id": more.pop("tiles", np.arange(len(x)))}, index=[f"{i}" for i in range(len(x))])
        return AnnData(X=x, obs=obs, var=pd.DataFrame(index=[f"{i}" for i in range(x.shape[1])]), **more)


def h5ad(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    annotated(x, obsm={"spatial": where.astype(float)}).write_h5ad(folder / f"{slide}.h5ad")


def zarr_group(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    import zarr

    root = zarr.open_group(folder / f"{slide}.zarr", mode="w")
    root.create_array("features", data=x)
    root.create_array("coords", data=where)


def zarr_anndata(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    annotated(x, obsm={"spatial": where.astype(float)}).write_zarr(folder / f"{slide}.zarr")


def polygon(x: float, y: float, side: float) -> bytes:
    """A square tile as well-known binary."""
    ring = [(x + side, y), (x + side, y + side), (x, y + side), (x, y), (x + side, y)]
    return b"\1" + np.array([3, 1, 5], "<u4").tobytes() + np.array(ring, "<f8").tobytes()


def lazyslide(folder: Path, slide: str, x: np.ndarray, where: np.ndarray) -> None:
    import zarr

    home = folder / f"{slide}.zarr"
    root = zarr.open_group(home, mode="w", zarr_format=2, attributes={"tile_spec": {"tiles": {
        "width": 256, "height": 256, "mpp": 0.5, "base_width": 512, "base_height": 512}}})  # fmt: skip
    root.create_group("tables")
    order = np.arange(len(x))[::-1]  # the table need not be in the order of the tiles
    annotated(x[order], tiles=order).write_zarr(home / "tables" / "mine_tiles")
    zarr.open_group(home / "tables" / "mine_tiles", mode="r+").attrs["region"] = "tiles"
    shapes = home / "shapes" / "tiles"
    shapes.mkdir(parents=True)
    tiles = pa.table({"tile_id": np.arange(len(x)), "geometry": [polygon(*xy, 512) for xy in where.tolist()]})
    pq.write_table(tiles, shapes / "shapes.parquet")


Writer = Callable[[Path, str, np.ndarray, np.ndarray], None]
LOCATED: tuple[Writer, ...] = (npz, pth_dict, safetensors, parquet, parquet_lists, hdf5, embeddings, h5ad, zarr_group,
                               zarr_anndata, lazyslide)  # fmt: skip
WRITERS: tuple[Writer, ...] = (npy, pt, dsmil, *LOCATED)
