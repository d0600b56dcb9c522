"""Names of slides and of patients: when two spellings are one name.

The rule, in this order; each step only where it is unique on both sides:

1. the same text;
2. the same but for endings of files (`.svs`, `.ndpi`, `.h5`, ..., several too), folders before it, upper and lower
   case, the form of Unicode characters, and `.0` after a whole number;
3. a TCGA barcode with and without the UUID after its dot.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..names import closest
from .findings import Finding, finding
from .patient import BARCODE

ENDINGS = (
    "svs", "tif", "tiff", "ndpi", "mrxs", "scn", "svslide", "bif", "vms", "vmu", "czi", "dcm", "dicom", "isyntax",
    "qptiff", "h5", "hdf5", "pt", "pth", "npy", "npz", "zarr", "h5ad", "parquet", "safetensors", "csv",
)  # fmt: skip
"""Of slides and of feature files; they are no part of a slide's name."""
_ENDING = re.compile(rf"(?<=.)\.(?:ome\.)?(?:{'|'.join(ENDINGS)})$", re.IGNORECASE)
_WHOLE = re.compile(r"([0-9]+)\.0+")
_UUID = re.compile(r"\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def slide_name(text: str) -> str:
    """A slide's name without folders and without the endings of files: `S1/a.ndpi.h5` is a."""
    name = re.split(r"[\\/]", text.strip())[-1]
    while (shorter := _ENDING.sub("", name)) != name:
        name = shorter
    return name


def slide_names(texts: Iterable[str]) -> dict[str, str]:
    """`slide_name` of each text; texts that would share one but differ in their ending keep it: they are two slides."""
    names = {text: slide_name(text) for text in texts}
    endings: dict[str, set[str]] = defaultdict(set)
    for text, name in names.items():
        last = re.split(r"[\\/]", text.strip())[-1]
        if last != name:
            endings[name].add(last.lower())
    return {text: text.strip() if len(endings[name]) > 1 else name for text, name in names.items()}


def slide_key(text: str) -> str:
    """What spellings of one slide have in common, see the rule of this file."""
    return _plain(slide_name(text))


def patient_key(text: str) -> str:
    """What spellings of one patient have in common: as for slides, and zeros before a number do not count."""
    plain = _plain(text)
    return plain if BARCODE.match(text) else _ZEROS.sub("", plain)


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFC", "".join(map(_narrow, text.strip()))).casefold()
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain


def _narrow(letter: str) -> str:
    """A letter of full or half width as an ordinary one; a superscript is another letter, and stays."""
    wide = unicodedata.decomposition(letter).startswith(("<wide>", "<narrow>", "<noBreak>"))
    return unicodedata.normalize("NFKC", letter) if wide else letter


def _without_uuid(text: str) -> str:
    name = slide_name(text)
    return _plain(_UUID.sub("", name) if BARCODE.match(name) else name)


RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("case", str.lower),
    ("spelling", slide_key),
    ("uuid", _without_uuid),
)
"""What may differ, and what two names then have in common, in the order in which they are tried."""

_SAID = {
    "case": ("slide_name_case", "slides match their feature file only when upper and lower case are ignored"),
    "spelling": (
        "slide_name_spelling",
        "slides match their feature file without endings, folders, case or the form of characters",
    ),
    "uuid": ("slide_name_uuid", "slides match their feature file by the barcode alone, with or without its UUID"),
}


@dataclass(frozen=True)
class Matched:
    """`names`: what each wanted name is called; a name without a match is absent. `by_rule`: who matched by which."""

    names: Mapping[str, str]
    by_rule: Mapping[str, list[str]] = field(default_factory=dict)

    def findings(self) -> list[Finding]:
        """What was matched other than by the same text."""
        return [finding(code, "warning", message, names) for rule, names in self.by_rule.items()
                if names for code, message in [_SAID[rule]]]  # fmt: skip


def match_names(wanted: Iterable[str], present: Collection[str]) -> Matched:
    """Pair names that name one slide, see the rule of this file. Every present name is given once."""
    there = set(present)
    every = list(dict.fromkeys(wanted))
    names = {name: name for name in every if name in there}
    by_rule: dict[str, list[str]] = {}
    for rule, key in RULES:
        left = [name for name in every if name not in names]
        if not left:
            break
        free = there - set(names.values())
        mine, theirs = _unique(left, key), _unique(free, key)
        found = {name: theirs[form] for form, name in mine.items() if form in theirs}
        names |= found
        by_rule[rule] = sorted(found)
    return Matched(names, by_rule)


def _unique(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Names by what they have in common with others; those that share it are left out."""
    listed = list(names)
    keys = [key(name) for name in listed]
    times = Counter(keys)
    return {form: name for form, name in zip(keys, listed, strict=True) if times[form] == 1}


def side_by_side(wanted: Collection[str], present: Collection[str]) -> str:
    """For a message where names do not match: one of each, as near as they come, and how many there are."""
    if not wanted or not present:
        return ""
    name = sorted(wanted)[0]
    near = closest(name, sorted(present)[:2000]) or sorted(present)[0]
    return f"the labels name {name!r} ({len(wanted)} such names), and the nearest file is {near!r} (of {len(present)})"


def spelt_twice(identifiers: Iterable[str], key: Callable[[str], str] = patient_key) -> list[tuple[str, ...]]:
    """Groups of identifiers that are spellings of one name."""
    groups: dict[str, set[str]] = defaultdict(set)
    for identifier in identifiers:
        groups[key(identifier)].add(identifier)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
