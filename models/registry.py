"""Every model by name: ours from an explicit tuple, other packages' through the entry-point group `milsurv.models`.

Names are known without importing any model, so that a mistyped one is found before torch is loaded, which takes longer
than all else that the command line does.
"""

import importlib
from collections.abc import Iterable, Iterator, MutableMapping
from importlib.metadata import entry_points

from ..errors import UnknownName
from ..names import check_choice
from ..plugins import registered
from .spec import ModelSpec

ENTRY_POINTS = "milsurv.models"

NAMES = (
    "meanpool",
    "maxpool",
    "abmil",
    "dsmil",
    "transmil",
    "deepgraphsurv",
    "patchgcn",
    "scmil",
    "protosurv",
    "hipt",
    "clam-sb",
    "clam-mb",
    "dtfd",
    "rrtmil",
    "wikg",
    "ilra",
    "acmil",
    "mhim",
    "mhim-transmil",
    "s4mil",
    "mambamil",
    "panther",
    "slide-cox",
    "slide-mlp",
    "crossfusion-single",
    "abmil-concat",
    "abmil-late",
    "abmil-joined",
    "mustmil",
    "csmil",
    "zoommil",
    "dsca",
    "h2mil",
    "crossfusion",
    "crossfusion-concat",
)
"""Ours, in the order in which they are shown: `crossfusion-concat` is the `SPEC` of `crossfusion_concat.py`."""

_ELSEWHERE = {"slide-cox": ("slide_vector", "SPEC"), "slide-mlp": ("slide_vector", "MLP")}
"""Models that share a file: its name, and what their description is called in it."""


class Models(MutableMapping[str, ModelSpec]):
    """Descriptions by name. The file of a model is imported when its description is asked for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._specs: dict[str, ModelSpec | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> ModelSpec:
        """The description, imported now where it was not."""
        spec = self._specs[name]
        if spec is None:
            file, called = _ELSEWHERE.get(name, (name.replace("-", "_"), "SPEC"))
            spec = self._specs[name] = getattr(importlib.import_module(f".{file}", __package__), called)
        return spec

    def __contains__(self, name: object) -> bool:
        """Whether the name is known; nothing is imported."""
        return name in self._specs

    def __setitem__(self, name: str, spec: ModelSpec) -> None:
        """Add a model, or replace one."""
        self._specs[name] = spec

    def __delitem__(self, name: str) -> None:
        """Take a model out."""
        del self._specs[name]

    def __iter__(self) -> Iterator[str]:
        """Names, in their order."""
        return iter(self._specs)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._specs)


MODELS = Models(NAMES)


def specs() -> tuple[ModelSpec, ...]:
    """Descriptions of all models of ours."""
    return tuple(MODELS[name] for name in NAMES)


if _others := entry_points(group=ENTRY_POINTS):
    MODELS.update(registered(ModelSpec, ENTRY_POINTS, specs(), _others))


def get(name: str) -> ModelSpec:
    """The spec of the model called `name`. UnknownName lists the known names and the nearest match."""
    if ":" in name and name not in MODELS:
        raise UnknownName(
            f"model {name!r} is other people's code, which is imported only where the command itself names it: "
            f"add --model {name}"
        )
    check_choice("model", name, sorted(MODELS), UnknownName)
    return MODELS[name]


def adopt(names: Iterable[str]) -> None:
    """Import every name with a colon, `package.module:Class`, and put it into the registry for this process.

    Nothing else imports other people's code: a name that is found in a file is looked up here.
    Errors: as `foreign.described`.
    """
    for name in names:
        if ":" in name and name not in MODELS:
            from .foreign import described

            MODELS[name] = described(name)
