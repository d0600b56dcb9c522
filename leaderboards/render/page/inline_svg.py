"""Figures set into the page: matplotlib's SVG, made small, themed by the page's colours, and without clashing ids."""

import re

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ..figures import style

# The page redefines these in its dark theme.
_COLOURS = {
    style.INK: "var(--ink)",
    style.SOFT: "var(--soft)",
    style.LINE: "var(--line)",
    style.LOW: "var(--low)",
    style.HIGH: "var(--high)",
}
# Many counts of patients at risk stand below every curve; the style sheet says once how they look.
_COUNT = ' style="font-size: 8px; text-anchor: middle; fill: var(--ink)"'


def inline_svg(figure: Figure, key: str, description: str) -> Markup:
    """The figure as an `<svg>` element. `key` makes its ids its own; `description` is what a screen reader says.

    Safe by construction: matplotlib escapes text, and `description` is escaped here.
    """
    inner = content(figure, key)
    width, height = (72 * inches for inches in figure.get_size_inches())
    return Markup(f"{opening(width, height, description)}{inner}</svg>")


def opening(width: float, height: float, description: str) -> Markup:
    """The start of an `<svg>` element, `width` by `height` points, that a screen reader reads as one picture."""
    return Markup(
        f'<svg class="figure" role="img" aria-label="{escape(description)}" viewBox="0 0 {width:g} {height:g}"'
        f' style="max-width:{width * 4 / 3:.0f}px" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )


def content(figure: Figure, key: str = "") -> str:
    """What is inside the `<svg>` of a figure; `key` starts every id in it, which only one without ids may lack."""
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
    text = text.replace(_COUNT, ' class="at-risk"')
    text = re.sub(r' transform="rotate\(-?0[^"]*"', "", text)
    text = re.sub(r'\b([xy])="(-?\d+\.\d+)"', lambda found: f'{found[1]}="{_tenth(found[2])}"', text)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r"^<svg[^>]*>|</svg>\s*$|<defs\s*/>|<defs></defs>", "", text)
    emptied = None
    while emptied != text:  # groups that only gave names to what they held, or held nothing
        emptied, text = text, re.sub(r"<g></g>|<g>(<(?:text|path)[^<]*(?:</text>|/>))</g>", r"\1", text)
    return text.strip()


def _own_id(name: str, used: set[str], key: str) -> str:
    return f' id="{key}-{name}"' if name in used else ""


def _short(path: str) -> str:
    """A path of straight lines in tenths of a point, relative, repeated points dropped, steps as h and v.

    The eye sees no difference; the page is a fifth as large. Paths with curves are only rounded.
    """
    steps = re.findall(r"([MLCQZz])([^MLCQZz]*)", path)
    if any(letter in "CQ" for letter, _ in steps):
        return " ".join(re.sub(r"-?\d+\.\d+", lambda number: _tenth(number[0]), path).split())
    parts, last = [], (0, 0)
    for letter, numbers in steps:
        if letter in "Zz":
            parts.append("Z")
            continue
        x, y = point = tuple(round(10 * float(number)) for number in numbers.split())
        across, down = _number(x - last[0]), _number(y - last[1])
        if letter == "M":
            parts.append(f"M{_number(x)} {_number(y)}")
        elif point != last:
            parts.append(f"v{down}" if x == last[0] else f"h{across}" if y == last[1] else f"l{across} {down}")
        last = point
    return re.sub(r"(?:h-?[\d.]+){2,}", _joined, "".join(parts))


def _joined(levels: re.Match[str]) -> str:
    """Level pieces in a row as one, so that a long plateau costs no more than a short one."""
    ahead = [float(piece) for piece in levels[0].split("h")[1:]]
    if min(ahead) < 0 < max(ahead):  # there and back again
        return levels[0]
    return f"h{_number(round(10 * sum(ahead)))}"


def _number(tenths: int) -> str:
    return f"{tenths / 10:g}".replace("0.", ".") if abs(tenths) < 10 and tenths else f"{tenths / 10:g}"


def _tenth(number: str) -> str:
    return f"{float(number):.1f}".removesuffix(".0")
