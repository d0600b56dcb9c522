"""All entries below some folders, read once and joined."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import RowError
from ..ranking.published_evidence import NO_EVIDENCE, PublishedEvidence
from ..rows import Problem
from .entry import HEAD, Entry, read_entry

PUBLISHED = Path(__file__).parents[1] / "published"
"""The entries that come with milsurv."""


@dataclass(frozen=True)
class Entries:
    """Entries in the order of their names, what could not be read as one, and the evidence of all."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @property
    def published(self) -> PublishedEvidence:
        """What is known of lines that were published without patients."""
        joined = NO_EVIDENCE
        for entry in self.entries:
            joined = joined.joined(entry.published or NO_EVIDENCE)
        return joined


def read_entries(folders: Iterable[Path]) -> Entries:
    """Every entry below these folders. One that is damaged or was changed is a Problem, and none of it is taken."""
    found: list[Entry] = []
    problems: list[Problem] = []
    for place in sorted({path.parent for folder in folders for path in Path(folder).rglob(HEAD)}):
        try:
            found.append(read_entry(place))
        except RowError as error:
            problems.append(Problem(place.name, str(error).removeprefix(f"{place.name}: ")))
    return Entries(tuple(sorted(found, key=lambda entry: entry.name)), tuple(problems))
