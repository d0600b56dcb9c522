"""Names from data as names of files: nothing in them leads out of a folder or means anything to a shell."""

import hashlib
import re
from collections.abc import Iterable


def file_name(text: str) -> str:
    """Letters, digits, dots and dashes of `text`, at most 80 of them; never empty, hidden or a path."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")
    return plain[:80].strip("-.") or f"x{_digits(text)}"


def file_names(texts: Iterable[str]) -> dict[str, str]:
    """A file name for every text; texts that would share one get a few digits of their hash."""
    listed = list(dict.fromkeys(texts))
    plain = {text: file_name(text) for text in listed}
    taken = list(plain.values())
    return {text: f"{name}-{_digits(text)}" if taken.count(name) > 1 else name for text, name in plain.items()}


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
