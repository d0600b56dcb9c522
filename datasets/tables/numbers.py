"""Numbers as tables write them: which sign divides the decimals, and what could be read in two ways."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_GROUPED = re.compile(
    r"[+-]?[1-9][0-9]{0,2}(?:(?P<mark>[.,' \u00a0\u202f\u2019])[0-9]{3})(?:(?P=mark)[0-9]{3})*(?:[.,][0-9]+)?"
)
_THOUSAND = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)


def number(text: str | None, decimal: str = ".") -> float | None:
    """The number that a cell holds; None for any other text.

    Digits are those of ASCII, and nothing but the decimal sign may stand between them: `1_000` is no number.
    """
    if not text:
        return None
    text = text.strip()
    if _INFINITE.fullmatch(text):
        return float(text)
    if decimal == "," and _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    elif decimal == "," and "." in text:
        return None
    return float(text) if _PLAIN.fullmatch(text) else None


@dataclass(frozen=True)
class Decimals:
    """The decimal sign of a column, and what makes it ambiguous: the readings of a value, in words; None if nothing."""

    sign: str = "."
    doubt: str | None = None


def decimals_of(texts: Iterable[str | None], longest: float | None = None, word: str = "") -> Decimals:
    """The decimal sign of a column: a comma where every number that is not whole has one.

    In doubt are: a thousands sign (1,234.5), points and commas in one column, and numbers of three decimals that may
    be thousands (1.732 beside 946). These are held against `longest`, the largest number that the column can hold;
    without it they are decimals. `word` follows the readings, such as "days".
    """
    values = {text.strip() for text in texts if text}
    points = sorted(v for v in values if "." in v and _PLAIN.fullmatch(v))
    commas = sorted(v for v in values if _COMMA.fullmatch(v))
    sign = "," if commas and not points else "."
    odd = next((v for v in sorted(values) if _GROUPED.fullmatch(v) and v not in points and v not in commas), None)
    if odd is not None:
        last = max(odd.rfind("."), odd.rfind(","))
        whole = re.sub(r"[^0-9]", "", odd if last < 0 or len(odd) - last == 4 else odd[:last])
        tail = "" if last < 0 or len(odd) - last == 4 else "." + odd[last + 1 :]
        said = f"{odd!r} has a thousands sign: it may be {whole}{tail}{word}, or a slip"
        return Decimals(sign, said)
    if points and commas:
        one, other = points[0], commas[0]
        said = f"{one} and {other} stand in one column: {other} may be {other.replace(',', '.')} or a list of two"
        return Decimals(sign, said)
    divided = points or commas
    if longest is not None and divided and all(_THOUSAND.fullmatch(v) for v in divided):
        whole = [v for v in values if _PLAIN.fullmatch(v) and "." not in v and "e" not in v.lower()]
        large = [float(re.sub("[.,]", "", v)) for v in divided]
        if all(abs(float(v)) < 1000 for v in whole) and max(large) <= longest:
            one = divided[0]
            point, plain = one.replace(",", "."), re.sub("[.,]", "", one)
            return Decimals(sign, f"{one} may be {point}{word}, or {plain}{word} with a thousands sign")
    return Decimals(sign)
