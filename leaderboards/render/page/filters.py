"""What a reader can filter the lines of the page by."""

from collections.abc import Iterable
from dataclasses import dataclass

from .board_views import BoardView

_TITLES = {
    "cohort": "Cohorts",
    "family": "Family",
    "scales": "Scales",
    "backbone": "Backbone",
    "loss": "Loss",
    "recipe": "Recipe",
    "slides": "Slides",
    "folds": "Folds",
}


@dataclass(frozen=True)
class Choice:
    """One list to choose from: the key that rows carry, its title, and the values that lines have."""

    key: str
    title: str
    values: tuple[str, ...]


def choices(boards: Iterable[BoardView]) -> tuple[Choice, ...]:
    """The lists that tell any lines apart, in a fixed order."""
    found = [item.filters for view in boards for table in view.rankings for item in table.lines]
    lists = (
        Choice(key, title, tuple(sorted({filters[key] for filters in found} - {""}))) for key, title in _TITLES.items()
    )
    return tuple(item for item in lists if len({filters[item.key] for filters in found}) > 1 and item.values)
