"""What goes wrong in the user's data. Every message names the file, the row or key, and the remedy."""


class DataError(ValueError):
    """A fault in labels, folds or features that the user can mend; the message says how."""


class UnknownCohort(DataError):
    """A cohort name that the registry does not hold; the message lists the known ones and the nearest."""


class UnknownBackbone(DataError):
    """A backbone name that the registry does not hold; the message lists the known ones and the nearest."""


def some(names: object, limit: int = 5) -> str:
    """The first few of many names for a message: "a, b, c and 12 more"."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    head = ", ".join(listed[:limit])
    return head if len(listed) <= limit else f"{head} and {len(listed) - limit} more"
