"""What goes wrong for users, each kind once. A message names the file, the row or key, and the remedy.

The command line prints the message of any of these and ends with status 2 for `UsageError` and `UnknownName` (the
command has to change) and 1 for the others (a file or a folder has to). Everything else is a fault of the program and
keeps its traceback.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """A request that cannot be carried out as it was made; the message says which option to change."""


class DataError(ValueError):
    """A fault in labels, folds or features that the user can correct; the message says how."""


class UnknownName(DataError):
    """A name that a registry does not hold; the message lists the known ones and the nearest."""


class RowError(ValueError):
    """Results that cannot be read or used; the message names the file, the key and the remedy."""


class Remark(UserWarning):
    """Something that a user should read though nothing failed; the command line prints its message alone."""


class CannotWrite(DataError):
    """A folder does not take what is written to it; the message names the path, the reason and the remedy."""


@contextmanager
def writing(place: object, remedy: str = "free space or choose another folder") -> Iterator[None]:
    """Turn any OSError of the block into `CannotWrite`, which names `place` and the remedy."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"{place} cannot be written ({error.strerror or error}): {remedy}.") from error


def some(names: Iterable[object], limit: int = 5) -> str:
    """The first few of many names for a message: "a, b, c and 12 more"."""
    listed = [str(name) for name in names]
    head = ", ".join(listed[:limit])
    return head if len(listed) <= limit else f"{head} and {len(listed) - limit} more"
