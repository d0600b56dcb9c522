"""The options of label tables as they are typed; the command line imports this, and nothing else to read tables."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ..tables.limits import MAX_BYTES


@dataclass(frozen=True)
class TypedOptions:
    """The label options as words of the command line; a field is an option of the same name."""

    endpoint: str = "os"
    columns: str | None = None
    unusable_times: str = "error"
    sheet: str | None = None
    slide_table: Path | None = None
    status_words: str | None = None
    table_mib: int = MAX_BYTES >> 20

    @property
    def command(self) -> list[str]:
        """The options as words of a command; defaults are left out."""
        given = [(field.name, getattr(self, field.name)) for field in fields(self)]
        changed = [(name, value) for name, value in given if value != getattr(TypedOptions(), name)]
        return [word for name, value in changed for word in (f"--{name.replace('_', '-')}", str(value))]


TYPED = tuple(field.name for field in fields(TypedOptions))
"""The names of the label options."""


def typed(given: object) -> TypedOptions:
    """The label options among the attributes, or the items, of `given`."""
    found = given if isinstance(given, Mapping) else {name: getattr(given, name) for name in TYPED}
    return TypedOptions(**{name: found[name] for name in TYPED if name in found})
