"""Bytes as text: which encoding a file has is seen in its bytes, and said where it is not UTF-8."""

import codecs
from dataclasses import dataclass

LOST = "\N{REPLACEMENT CHARACTER}"
"""Stands where bytes are no text in any encoding that was found."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = ["cp1252", "iso8859_15", "cp1250", "mac_roman", "cp437", "cp850"]
"""What programs of Windows and of macOS write; tried where a file is no UTF-8."""


@dataclass(frozen=True)
class Decoded:
    """`text`, and `encoding` as Python calls it; None where bytes were replaced by U+FFFD."""

    text: str
    encoding: str | None


TELLING = 5
"""Lines with letters beyond ASCII; of fewer, no code page but the usual one is believed."""


def decode(content: bytes) -> Decoded:
    """The text of a file: by its byte order mark, as UTF-16 without a mark, as UTF-8, else as a Western code page.

    A file that is UTF-8 but for single torn bytes is read as UTF-8, and these become U+FFFD.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _as(content, name)
    if name := _wide(content):  # before UTF-8, which it is, too, where all letters are ASCII
        return _as(content, name)
    try:
        return Decoded(content.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    if name := _code_page(content):
        return Decoded(content.decode(name), name)
    return Decoded(content.decode("utf-8", errors="replace"), None)


def _as(content: bytes, name: str) -> Decoded:
    try:
        return Decoded(content.decode(name), name)
    except UnicodeDecodeError:
        return Decoded(content.decode(name, errors="replace"), None)


def _wide(content: bytes) -> str | None:
    """UTF-16 without a mark: in a table nearly every other byte is zero."""
    head = content[: 1 << 12]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if not head or max(even, odd) * 2 < 0.8 * len(head):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _code_page(content: bytes) -> str | None:
    """The code page of a file of eight-bit characters; None where it also holds characters of UTF-8, or controls."""
    high = [line for line in content.splitlines() if any(byte > 127 for byte in line)]
    if any(_is_utf8(line) for line in high) or any(byte in content for byte in b"\x00\x1b"):
        return None
    from charset_normalizer import from_bytes

    best = from_bytes(b"\n".join(high[:2000]), cp_isolation=_WESTERN).best() if len(high) >= TELLING else None
    # Code pages of Windows share most letters with ISO 8859-1; short texts cannot tell them apart: cp1252 is usual.
    for name in ["cp1252", *([best.encoding] if best else [])]:
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        beyond = [c for c in text if ord(c) > 127]
        if 2 * sum(c.isalpha() or c in _MARKS_OF_WRITING for c in beyond) >= len(beyond):
            return name
    return None


_MARKS_OF_WRITING = "€…‘’“”–—•§°±²³µ·«»¿¡´≥≤™®©½¼×" + "\xa0"  # noqa: RUF001


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
