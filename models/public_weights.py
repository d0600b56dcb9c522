"""How the state dict of somebody else's code becomes one of our models: a few rules beside the model, one loader."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .spec import ModelSpec

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


@dataclass(frozen=True)
class PublicWeights:
    """The names of one public implementation, in terms of ours.

    Attributes:
        case: its name in `load_reference`.
        model: the model of our registry that takes the weights.
        read: state dict -> (width of the features, width of the head, hyperparameters that the shapes tell).
        rules: regular expressions that turn one of our entries into the public one, all applied in order; names in
            braces, `a.{q,k,v}.weight`, are stacked along the first axis, and so is what is numbered, `a.*.weight`.
        hyperparameters: published name -> ours, where the two differ.
        fixed: our hyperparameters that this implementation has no choice about.
        told: published hyperparameters that the shapes tell: accepted, not needed.
        constants: published hyperparameters that can only have this value with us.
        needs: entries without which `read` can tell nothing.
        unused: regular expressions of public entries that have no effect there, or are second names.
        renamed: rules for entries that older or newer versions of that code call otherwise.
        ours_alone: regular expressions of our entries, such as fitted buffers, that public weights do not hold.
    """

    case: str
    model: str
    read: Callable[[Mapping[str, Tensor]], tuple[int, int, Mapping[str, object]]]
    rules: Rules = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    constants: Mapping[str, object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    renamed: Rules = ()
    ours_alone: tuple[str, ...] = ()

    def entries(self, ours: str) -> list[str]:
        """The public names of one entry of our state dict, to be stacked along the first axis."""
        for pattern, replacement in self.rules:
            ours = re.sub(pattern, replacement, ours)
        found = re.search(r"\{(.+)\}", ours)
        return [ours.replace(found[0], part) for part in found[1].split(",")] if found else [ours]

    def translated(self, hyperparameters: Mapping[str, object], spec: ModelSpec) -> dict[str, object]:
        """Hyperparameters under our names. Raises ValueError for one that does not exist, or cannot have its value."""
        ours: dict[str, object] = {}
        for name, value in hyperparameters.items():
            if name in self.told:
                continue
            if name in self.constants:
                if value != self.constants[name]:
                    raise ValueError(f"{self.case}: {name} is {self.constants[name]!r} in ours, not {value!r}")
                continue
            known = self.hyperparameters.get(name, name)
            if known not in spec.defaults:
                names = {*self.hyperparameters, *self.constants, *spec.defaults}
                raise ValueError(f"{self.case} has no hyperparameter '{name}'; it has {', '.join(sorted(names))}")
            ours[known] = value
        return ours

    def load(self, spec: ModelSpec, state_dict: Mapping[str, Tensor], **hyperparameters: object) -> nn.Module:
        """Build the model with these weights, in evaluation mode.

        Raises:
            ValueError: for entries missing, unexpected or of another shape, all listed; for a hyperparameter that does
                not exist.
        """
        complaint = f"these are not the reference's weights of '{self.case}':\n  "
        given = {self._renamed(key): value for key, value in state_dict.items()}
        if absent := [entry for entry in self.needs if entry not in given]:
            raise ValueError(f"{complaint}missing: {', '.join(absent)}")
        try:
            dim, n_out, read = self.read(given)
        except KeyError as error:
            raise ValueError(f"{complaint}missing: {error.args[0]}") from error
        chosen = {**spec.reference_defaults, **read, **self.translated(hyperparameters, spec), **self.fixed}
        model = spec.build(dim, n_out, **chosen)
        own = model.state_dict()
        weights: dict[str, Tensor] = {}
        wrong: list[str] = []
        unread = {key for key in given if not any(re.search(pattern, key) for pattern in self.unused)}
        for entry, ours in own.items():
            if any(re.search(pattern, entry) for pattern in self.ours_alone):
                weights[entry] = ours
                continue
            names = [name for pattern in self.entries(entry) for name in _numbered(pattern, given)]
            missing = [n for n in names if n not in given]
            unread -= set(names)
            if missing:
                wrong += [f"missing: {n}" for n in missing]
                continue
            joined = torch.cat([given[n] for n in names]) if len(names) > 1 else given[names[0]]
            # Leading or trailing axes of one, of tokens and of 1 x 1 convolutions, say nothing.
            if [k for k in joined.shape if k > 1] == [k for k in ours.shape if k > 1]:
                joined = joined.reshape(ours.shape)
            if joined.shape != ours.shape:
                wrong.append(f"shape: {' + '.join(names)} gives {tuple(joined.shape)}, expected {tuple(ours.shape)}")
            weights[entry] = joined
        wrong += [f"unexpected: {n}" for n in sorted(unread)]
        if wrong:
            raise ValueError(complaint + "\n  ".join(wrong))
        model.load_state_dict(weights)
        return model.eval()

    def _renamed(self, name: str) -> str:
        name = name.removeprefix("module.")  # left by DataParallel
        for pattern, replacement in self.renamed:
            name = re.sub(pattern, replacement, name)
        return name


def _numbered(name: str, given: Iterable[str]) -> list[str]:
    """The entries that a name with a star stands for, in the order of their numbers; else the name itself."""
    if "*" not in name:
        return [name]
    pattern = re.compile(re.escape(name).replace(r"\*", r"(\d+)"))
    found = {int(match[1]): match[0] for key in given if (match := pattern.fullmatch(key))}
    return [found[number] for number in sorted(found)] or [name]
