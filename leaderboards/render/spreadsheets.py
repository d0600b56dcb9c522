"""Text that no spreadsheet takes for a formula, whatever a model, a group or a note is called."""

import re

STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""What a formula can begin with, in wide forms, too."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")


def harmless(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would compute. Numbers stay numbers."""
    bare = text.lstrip(" \u00a0")
    return f"'{text}" if bare[:1] and bare[0] in STARTS and not _NUMBER.fullmatch(bare) else text
