"""What the registry says about a model: one frozen description, standing at the foot of the model's own file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelSpec:
    """The description of one model.

    A built model is called as `model(features, lengths)`, both mappings keyed by magnification: `features[m]` holds all
    bags of the batch laid end to end, (sum of n, dim); `lengths[m]` the rows of each bag, (b,), on the CPU. It returns
    raw scores, (b, n_out). A batch gives for every bag what that bag alone gives, to 1e-5. A model with `places` is
    called as `model(features, lengths, places)`; what else a model may do in training says `milsurv.models.contract`.

    Attributes:
        name: the registry's name: lower case, words joined by hyphens.
        title: the name as papers print it.
        build: `build(dim, n_out, **hyperparameters) -> nn.Module`; dim is the width of the patch features, n_out >= 1
            the width of the head. Hyperparameters left out take the constructor's own defaults.
        scales: the magnifications the model reads with its default hyperparameters, ascending.
        defaults: hyperparameters of the default recipe, every one that `build` takes.
        reference_defaults: hyperparameters of the published implementation, likewise.
        search_space: the hyperparameters that `--tune` may vary, as plain data: a tuple lists the choices; a mapping
            `{"low": a, "high": b, "log": bool}` is a range. Every combination must build, and none may cost more than a
            few times what the defaults do. How a model is trained (learning rate, batch, loss) is tuned for all models
            alike and has no place here; what is left out here is never tuned.
        learning_rate: that of the default recipe, chosen for every model by the one rule of docs/protocol.md.
        family: "single-scale" or "multi-scale".
        order_free: True where the order of a bag's patches provably does not matter.
        reference: the paper.
        places: True where the model needs to know where the patches lie, a `milsurv.models.contract.Places`.
        files: hyperparameters that name a file, empty by default. `build` gets `path@hash`, so that changed content is
            another experiment, and nothing where there is no file.
        equation: what the model computes, in a few lines of plain text.
        cost: how time and memory grow with the patches of a bag, n.
        repository: where the authors' code is, with the commit it was read at; empty where there is none.
        licence: the licence of that code. Ours is written from the equations.
        defects: what of that code is a defect or a choice to know, each with how it is handled here, one line each.
    """

    name: str
    title: str
    build: "Callable[..., nn.Module]"
    scales: tuple[int, ...]
    defaults: Mapping[str, object]
    reference_defaults: Mapping[str, object]
    search_space: Mapping[str, tuple[object, ...] | Mapping[str, object]]
    family: str
    order_free: bool
    reference: str
    learning_rate: float = 5e-4
    places: bool = False
    files: tuple[str, ...] = ()
    equation: str = ""
    cost: str = ""
    repository: str = ""
    licence: str = ""
    defects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what can be checked without building. Raises ValueError naming the field."""
        if self.family not in ("single-scale", "multi-scale"):
            raise ValueError(f"{self.name}: family is {self.family!r}, not 'single-scale' or 'multi-scale'")
        if unknown := sorted(set(self.search_space) - set(self.defaults)):
            raise ValueError(f"{self.name}: search_space has {', '.join(unknown)}, which defaults lack")
        for name, of in self.search_space.items():
            ends = (of.get("low"), of.get("high")) if isinstance(of, Mapping) else (0, len(of))
            low, high = (end if isinstance(end, int | float) else float("nan") for end in ends)
            if not low < high or (isinstance(of, Mapping) and of.get("log") and low <= 0):
                raise ValueError(f"{self.name}: search_space of {name} is {of!r}, neither choices nor a range")
        if not self.scales or list(self.scales) != sorted(set(self.scales)):
            raise ValueError(f"{self.name}: scales are {self.scales!r}, not ascending magnifications")

    def reads(self, hyperparameters: Mapping[str, object] | None = None) -> tuple[int, ...]:
        """Magnifications read with these hyperparameters: a single-scale model follows its `scale`."""
        scale = {**self.defaults, **(hyperparameters or {})}.get("scale")
        if self.family == "single-scale" and isinstance(scale, int):
            return (scale,)
        return self.scales
