"""What other packages add to a registry: objects named by the entry points of their installed distributions."""

import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeVar


class Named(Protocol):
    """Whatever a registry holds."""

    @property
    def name(self) -> str:
        """The key under which it is found."""
        ...


T = TypeVar("T", bound=Named)


def registered(kind: type[T], group: str, own: Iterable[T], others: Iterable[EntryPoint] | None = None) -> dict[str, T]:
    """Objects of one kind by name: ours, then those of other packages.

    An entry point that cannot be loaded, names an object of another kind, or takes a name already given is left out
    with a warning that says which one and why: a faulty package elsewhere must not stop the benchmark, nor hide.

    Parameters
    ----------
    kind
        The class of all objects, `ModelSpec`, `Metric` or `SurvivalLoss`.
    group
        The entry-point group, such as `milsurv.metrics`.
    own
        The objects of this project, in the order in which they are shown.
    others
        Entry points; those of all installed packages by default.

    Warns
    -----
    RuntimeWarning
        Once for every entry point that is left out.

    """
    found = {one.name: one for one in own}
    for entry in entry_points(group=group) if others is None else others:
        where = f"entry point '{entry.name} = {entry.value}' of the group {group}"
        try:
            one = entry.load()
        except Exception as error:  # any import of foreign code can raise anything; it is reported, not hidden
            fault = f"cannot be loaded ({type(error).__name__}: {error})"
        else:
            if not isinstance(one, kind):
                fault = f"is a {type(one).__name__}, not a {kind.__module__}.{kind.__qualname__}"
            elif one.name in found:
                fault = f"gives a {group.rpartition('.')[2].removesuffix('s')} named '{one.name}', which exists already"
            else:
                found[one.name] = one
                continue
        warnings.warn(f"left out: {where} {fault}", RuntimeWarning, stacklevel=3)
    return found
