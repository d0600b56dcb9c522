"""Models of other people's code, as they are: `torchmil:ABMIL`, or any `nn.Module` of one bag, `package.module:Class`.

A module is imported for `registry.adopt` alone, which is called with what the user typed.
"""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .contract import Places
from .layers.neighbours import nearest
from .layers.per_bag import PerBag
from .spec import ModelSpec


def described(name: str) -> ModelSpec:
    """The model called `package.module:Class`, imported.

    The class is built as `Class(dim, n_out)`, with keywords for those of its parameters that have a plain default (int,
    float, bool, str): these are the hyperparameters. It is called with one bag, (1, n, dim), and returns (1, n_out) or
    (n_out,). A `ModelSpec` in place of the class is taken as it is.

    Raises
    ------
    UsageError
        For a module that cannot be imported, or holds no such class; the message says why.
    """
    return _of_torchmil(name) if name.startswith("torchmil:") else _of_module(name)


def _of_module(name: str) -> ModelSpec:
    module, _, attribute = name.partition(":")
    found = _imported(name, module, attribute, "")
    if isinstance(found, ModelSpec):
        return found
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"'{name}' is a {type(found).__name__}, neither a torch.nn.Module class nor a ModelSpec")
    source = hashlib.sha256(Path(inspect.getfile(found)).read_bytes()).hexdigest()[:10]

    def build(dim: int, n_out: int, *, scale: int, source: str, **hyperparameters: object) -> nn.Module:
        return PerBag(_built(name, lambda: found(dim, n_out, **hyperparameters)), scale)

    return _spec(name, found, 2, build, source, f"{module}, {attribute}")


def _of_torchmil(name: str) -> ModelSpec:
    found = _imported(name, "torchmil.models", name.partition(":")[2], "; pip install 'milsurv[torchmil]'")
    takes = inspect.signature(found.forward).parameters
    if missing := {k for k, p in takes.items() if p.default is p.empty} - {"self", "X", "adj"}:
        raise UsageError(
            f"'{name}' needs {', '.join(sorted(missing))} beside the patches, which is not given to models"
        )

    def build(dim: int, n_out: int, *, scale: int, source: str, **hyperparameters: object) -> nn.Module:
        model = _built(name, lambda: found(in_shape=(dim,), **hyperparameters))
        return _TorchMIL(model, n_out, scale, "adj" in takes, "mask" in takes)

    reference = "torchmil: Castro-Macías et al. 2025, and the paper named in its documentation."
    spec = _spec(name, found, 1, build, f"torchmil {version('torchmil')}", reference)
    return replace(spec, places="adj" in takes)


def _imported(name: str, module: str, attribute: str, remedy: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)  # the user's own file, as `python -m` would find it
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever their code raises is reported, not hidden
        raise UsageError(f"'{name}' cannot be imported ({type(error).__name__}: {error}){remedy}") from error
    finally:
        sys.path.remove(here)
    if not hasattr(found, attribute):
        classes = [n for n, x in vars(found).items() if isinstance(x, type) and issubclass(x, nn.Module)]
        raise UsageError(f"{module} has no '{attribute}'; its modules are {', '.join(sorted(classes)) or 'none'}")
    return getattr(found, attribute)


def _built(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except TypeError as error:
        raise UsageError(f"'{name}' cannot be built from the width of the features and of the head: {error}") from error


def _spec(
    name: str, kind: type, positional: int, build: Callable[..., nn.Module], source: str, reference: str
) -> ModelSpec:
    """Describe a class: hyperparameters are its parameters with a plain default, after the `positional` first.

    `source`, the version or a hash of the file, is one of them, so that changed code is another experiment.
    """
    parameters = list(inspect.signature(kind).parameters.values())[positional:]
    plain = {p.name: p.default for p in parameters if isinstance(p.default, (bool, int, float, str))}
    defaults = {"scale": 20, **plain, "source": source}
    return ModelSpec(
        name=name,
        title=name.partition(":")[2],
        build=build,
        scales=(20,),
        defaults=defaults,
        reference_defaults=defaults,
        search_space={},
        family="single-scale",
        order_free=False,
        reference=reference,
    )


class _TorchMIL(nn.Module):
    """A torchmil model run bag by bag, its last layer, which gives one score, made as wide as asked for."""

    def __init__(self, model: nn.Module, n_out: int, scale: int, graph: bool, masked: bool) -> None:
        super().__init__()
        self.model, self.n_out, self.scale, self.graph, self.masked = model, n_out, scale, graph, masked
        ends = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1]
        if n_out > 1 and ends:
            name, last = ends[-1]
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.Linear(last.in_features, n_out, last.bias is not None))

    def forward(
        self, features: Mapping[int, Tensor], lengths: Mapping[int, Tensor], places: Places | None = None
    ) -> Tensor:
        """Score the bags of a packed batch: -> (b, n_out)."""
        sizes = lengths[self.scale].tolist()
        bags = features[self.scale].split(sizes)
        extra: list[dict[str, Tensor]] = [{} for _ in bags]
        if self.graph and places is not None:
            where = zip(places.cells[self.scale].split(sizes), places.slide[self.scale].split(sizes), strict=True)
            for given, (cells, slide), bag in zip(extra, where, bags, strict=True):
                given["adj"] = adjacency(cells, slide).to(bag.dtype)
        if self.masked:
            for given, bag in zip(extra, bags, strict=True):
                given["mask"] = torch.ones(1, len(bag), dtype=torch.bool, device=bag.device)
        scores = [self.model(bag[None], **given).reshape(-1) for bag, given in zip(bags, extra, strict=True)]
        if len(scores[0]) != self.n_out:
            what = (
                f"{type(self.model).__name__} gives {len(scores[0])} number(s) a bag, and the loss needs {self.n_out}"
            )
            raise UsageError(f"{what}: use a loss of one score, --loss cox")
        return torch.stack(scores)


def adjacency(cells: Tensor, slide: Tensor) -> Tensor:
    """Patches in touching cells, as torchmil normalises them: D^-1/2 A D^-1/2, sparse (1, n, n)."""
    near = nearest(cells, slide, 8)  # (n, 8), -1 where a slide has fewer
    apart = (cells[near.clamp(min=0)] - cells[:, None]).abs().amax(2)  # (n, 8)
    row, place = ((near >= 0) & (apart <= 1)).nonzero().unbind(1)
    edges = torch.stack([row, near[row, place]])
    edges = torch.unique(torch.cat([edges, edges.flip(0)], 1), dim=1)  # (2, e)
    weight = torch.bincount(edges[0], minlength=len(cells)).clamp(min=1).float().rsqrt()
    values = weight[edges[0]] * weight[edges[1]]
    rows = torch.cat([torch.zeros_like(edges[:1]), edges])
    shape = (1, len(cells), len(cells))
    return torch.sparse_coo_tensor(rows, values, shape, check_invariants=False).coalesce()
