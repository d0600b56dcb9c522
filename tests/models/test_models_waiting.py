"""Which models look at what they compute on the way: on a GPU, each look waits until all before it is computed."""

from typing import ClassVar

import pytest
import torch
from milsurv.models.contract import Places, Trained
from milsurv.models.registry import MODELS, NAMES

LOOKS = ("item", "tolist", "numpy", "cpu", "nonzero", "unique", "unique_consecutive", "masked_select")
LOOKS += ("__bool__", "__int__", "__index__", "__float__")
LOOKING = {
    # graphs, regions and clusters follow from cells and from features
    "deepgraphsurv", "patchgcn", "scmil", "protosurv", "hipt", "csmil", "zoommil", "dsca", "h2mil", "mustmil",
    "abmil-joined",
}  # fmt: skip
CELLS = {5: torch.tensor([[0, 0], [1, 0], [0, 0], [1, 0], [1, 1]])}
for m in (10, 20):
    CELLS[m] = (2 * CELLS[m // 2][:, None] + torch.tensor([(0, 0), (1, 0), (0, 1), (1, 1)])).flatten(0, 1)


class Computed(torch.Tensor):
    """A tensor that notes who looks at it, or at whatever is computed from it."""

    looks: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if (name := getattr(function, "__name__", "")) in LOOKS:
            cls.looks.append(name)
        return super().__torch_function__(function, types, args, kwargs or {})


def looks(name: str) -> list[str]:
    """How a model looks at what it computes in a forward and a backward pass in training mode."""
    spec = MODELS[name]
    torch.manual_seed(0)
    model = spec.build(16, 4, **spec.defaults).train()
    lengths = {m: torch.tensor([2, 3]) * (m // 5) ** 2 for m in spec.reads()}
    features = {m: torch.randn(int(n.sum()), 16).as_subclass(Computed) for m, n in lengths.items()}
    slide = {m: torch.repeat_interleave(torch.arange(2), n).int().as_subclass(Computed) for m, n in lengths.items()}
    cells = {m: CELLS[m].int().as_subclass(Computed) for m in lengths}
    Computed.looks.clear()
    given = model(features, lengths, *[Places(cells, slide)] * spec.places)
    (given.scores if isinstance(given, Trained) else given).sum().backward()
    return list(Computed.looks)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_need_not_look_at_what_it_computes_does_not(name):
    assert bool(looks(name)) == (name in LOOKING)
