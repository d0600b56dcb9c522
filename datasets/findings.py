"""What was noticed while reading data: nothing is left out in silence, it becomes a Finding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was noticed in a table, a set of folds or a feature folder.

    `code` is stable snake_case, `count` how many rows, patients or slides it concerns (the message says
    which), `examples` the first few of them in a fixed order.
    """

    code: str
    severity: Severity
    count: int
    message: str
    examples: tuple[str, ...] = ()


def finding(code: str, severity: Severity, message: str, names: Iterable[object], limit: int = 10) -> Finding:
    """A Finding about `names`: they are counted, and the first `limit` in sorted order are the examples."""
    listed = sorted({str(name) for name in names})
    return Finding(code, severity, len(listed), message, tuple(listed[:limit]))
