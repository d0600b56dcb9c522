"""Figures set into the page: matplotlib's SVG, made small, themed by the page's colours, and without clashing ids."""

import re

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from . import style

# The page redefines these in its dark theme.
_COLOURS = {
    style.INK: "var(--ink)",
    style.SOFT: "var(--soft)",
    style.LINE: "var(--line)",
    style.LOW: "var(--low)",
    style.HIGH: "var(--high)",
}


def inline_svg(figure: Figure, key: str, description: str) -> Markup:
    """The figure as an `<svg>` element. `key` makes its ids its own; `description` is what a screen reader says.

    Safe by construction: matplotlib escapes text, and `description` is escaped here.
    """
    with style.styled():
        figure.patch.set_visible(False)
        text = style.svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r'\sid="([^"]+)"', lambda found: _own_id(found[1], used, key), text)
    text = re.sub(r'(href="|url\()#', rf"\1#{key}-", text)
    text = re.sub(r'\sd="([^"]+)"', lambda found: f' d="{_short(found[1])}"', text)
    for colour, name in _COLOURS.items():
        text = text.replace(colour, name)
    text = re.sub(r"font-family: [^;\"]+;? ?", "", text)  # the page's own, by its style sheet
    text = re.sub(r' transform="rotate\(-?0[^"]*"', "", text)
    text = re.sub(r'\b([xy])="(-?\d+\.\d+)"', lambda found: f'{found[1]}="{_tenth(found[2])}"', text)
    text = re.sub(r">\s+<", "><", text)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # pyright: ignore[reportOptionalMemberAccess]  # matplotlib always writes it
    head = f'<svg class="figure" role="img" aria-label="{escape(description)}" viewBox="0 0 {width} {height}"'
    head += f' style="max-width:{float(width) * 4 / 3:.0f}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: head, text, count=1).strip())


def _own_id(name: str, used: set[str], key: str) -> str:
    return f' id="{key}-{name}"' if name in used else ""


def _short(path: str) -> str:
    """A path of straight lines with coordinates to a tenth of a point, repeated points dropped, steps as H and V.

    The eye sees no difference; the page is a quarter as large. Paths with curves are only rounded.
    """
    steps = re.findall(r"([MLCQZz])([^MLCQZz]*)", path)
    if any(letter in "CQ" for letter, _ in steps):
        return " ".join(re.sub(r"-?\d+\.\d+", lambda number: _tenth(number[0]), path).split())
    parts, last = [], ("", "")
    for letter, numbers in steps:
        if letter in "Zz":
            parts.append("Z")
            continue
        x, y = point = tuple(_tenth(number) for number in numbers.split())
        if letter == "M":
            parts.append(f"M{x} {y}")
        elif point != last:
            parts.append(f"V{y}" if x == last[0] else f"H{x}" if y == last[1] else f"L{x} {y}")
        last = point
    return "".join(parts)


def _tenth(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0")
