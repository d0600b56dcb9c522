"""Names from data become file names only here, so that none of them leads out of its folder."""

from ...errors import DataError


def safe(slide: str) -> str:
    """`slide`, if it can be a file name; DataError for path separators, "..", control characters or an empty name."""
    if (
        not slide
        or slide in {".", ".."}
        or any(c in "/\\:" or ord(c) < 32 for c in slide)
        or slide.startswith("..")
        or len(slide.encode("utf-8", "surrogatepass")) > 240
    ):
        raise DataError(f"{slide!r} cannot be the name of a slide: it would lead out of the feature folder.")
    return slide
