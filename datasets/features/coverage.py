"""Coverage: whether every slide has features at every scale, all of one width, seen from headers before training."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from ...errors import DataError, some
from .. import backbones
from ..findings import Finding, finding
from ..slide_names import side_by_side
from .geometry import nearest
from .reader import Reader


@dataclass(frozen=True)
class Coverage:
    """What a walk over all headers found: slides without a file, without a scale, with an empty scale,
    damaged files, the slides and scales of each width and of each encoder that files name, those whose files name
    another magnification than they are read at, and those of each side of patches that files state; how many slides
    have each scale at all, and which hold one vector for the slide.
    """

    without_file: tuple[str, ...]
    without_scale: dict[str, tuple[int, ...]]
    empty: dict[str, tuple[int, ...]]
    damaged: dict[str, str]
    widths: dict[int, list[str]]
    looked_at: int = 0
    encoders: dict[str, list[str]] = field(default_factory=dict)
    misnamed: list[str] = field(default_factory=list)
    other_scale: list[str] = field(default_factory=list)
    sizes: dict[tuple[int, float], list[str]] = field(default_factory=dict)
    has: dict[int, int] = field(default_factory=dict)
    vectors: list[str] = field(default_factory=list)

    @property
    def unusable(self) -> frozenset[str]:
        """Slides that give no bag."""
        return frozenset((*self.without_file, *self.without_scale, *self.empty))

    def refuse(self, folder: str, allow_missing: bool, present: Collection[str] = ()) -> None:
        """Raise one DataError that counts and lists all faults, if there are any.

        Where no slide has a file, a slide is shown beside the nearest of the files `present`: names differ, then.
        """
        if self.looked_at and len(self.without_file) == self.looked_at and present:
            raise DataError(
                f"{folder}: no slide of the labels has a feature file: {side_by_side(self.without_file, present)}. "
                "Slides match by name, without the endings of files and whatever the case. Correct the names in the "
                "labels, or give the features of these slides."
            )
        faults: list[tuple[str, list[str]]] = []
        if not allow_missing:
            faults += [(text, names) for _, text, names in self._missing()]
        faults.append(("files cannot be used", list(self.damaged.values())))
        if len(self.widths) > 1:
            common = max(self.widths, key=lambda width: len(self.widths[width]))
            odd = [f"{s} is {w}" for w, names in sorted(self.widths.items()) if w != common for s in names]
            faults.append((f"slides or scales are not {common} wide like the most", odd))
        if len(self.encoders) > 1:
            common = max(self.encoders, key=lambda name: len(self.encoders[name]))
            odd = [f"{s} is of {e}" for e, names in sorted(self.encoders.items()) if e != common for s in names]
            faults.append((f"slides are of another encoder than {common}, by their own account", odd))
        faults.append(("slides are of another encoder than the folder's name says", self.misnamed))
        faults.append(("slides are of another magnification by their own account", self.other_scale))
        faults += self.uneven()
        faults = [(text, names) for text, names in faults if names]
        if not faults:
            return
        lines = "".join(f"\n  {len(names)} {text}: {some(names)}" for text, names in faults)
        remedy = self._remedy()
        if remedy:
            raise DataError(f"{folder}: the features cannot be used.{lines}\n{remedy}.")
        remedy = "Extract these slides again"
        if not allow_missing and self.unusable:
            remedy += ", or leave slides without features out on purpose with --missing drop"
        raise DataError(f"{folder}: the features cannot be used.{lines}\n{remedy}.")

    def uneven(self) -> list[tuple[str, list[str]]]:
        """What to say of scales with patches of several sizes, and the slides that differ from most."""
        found = []
        for m in sorted({m for m, _ in self.sizes}):
            of = {px: names for (at, px), names in self.sizes.items() if at == m}
            common = max(of, key=lambda px: len(of[px]))
            odd = [f"{s} is {px:g}" for px, names in sorted(of.items()) if px != common for s in names]
            found += [(f"slides have patches of another side at {m}x than {common:g} pixels", odd)] if odd else []
        return found

    def _remedy(self) -> str:
        """What to do where no slide has a scale that is asked for, and all have others."""
        asked = {m for lacking in self.without_scale.values() for m in lacking}
        if not self.without_scale or any(self.has.get(m) for m in asked):
            return ""
        if self.vectors:
            return "These are vectors of whole slides: slide-cox and slide-mlp read them, with their --scale"
        there = " and ".join(f"{m}x" for m in sorted(self.has))
        remedy = f"There is {there}: a single-scale model reads it with --scale {max(self.has)}"
        if 20 in self.has and asked <= {5, 10}:
            remedy += "; a model of several scales needs the others extracted, or derived from 20x with --derive-scales"
        return remedy

    def findings(self, folder: str) -> list[Finding]:
        """What was left out, where leaving out is allowed."""
        return [
            finding(code, "warning", f"{text}, in {folder}; left out", names) for code, text, names in self._missing()
        ]

    def _missing(self) -> list[tuple[str, str, list[str]]]:
        def scales(slides: dict[str, tuple[int, ...]]) -> list[str]:
            return [f"{slide} ({', '.join(f'{m}x' for m in ms)})" for slide, ms in slides.items()]

        kinds = (
            ("slides_without_features", "slides have no feature file", list(self.without_file)),
            ("slides_without_scale", "slides lack a magnification", scales(self.without_scale)),
            ("empty_scales", "slides have no patches at a magnification", scales(self.empty)),
        )
        return [kind for kind in kinds if kind[2]]


def survey(
    reader: Reader,
    slides: Iterable[str],
    magnifications: tuple[int, ...],
    progress: Callable[[int, int], None] | None = None,
) -> Coverage:
    """Look at the header of every slide; faults are collected, not raised."""
    every = list(slides)
    found = Coverage(tuple(s for s in every if s not in reader.slides), {}, {}, {}, {}, len(every))
    for done, slide in enumerate(every):
        if slide in reader.slides:
            try:
                facts = reader.facts(slide)
                shapes = {m: (fact.patches, fact.dim) for m, fact in facts.items()}
            except DataError as error:
                found.damaged[slide] = str(error)
                facts, shapes = {}, None
            for m, fact in facts.items():
                found.has[m] = found.has.get(m, 0) + 1
                if m in magnifications and fact.stated_px:
                    found.sizes.setdefault((m, fact.stated_px), []).append(slide)
            lacks = any(m not in facts for m in magnifications)
            for m, fact in facts.items():
                claimed = fact.geometry.claimed
                if (m in magnifications or lacks) and claimed and nearest(claimed) != m:
                    found.other_scale.append(f"{slide} ({claimed:g}x read as {m}x)")
            if facts and all(fact.vector for fact in facts.values()):
                found.vectors.append(slide)
            for m in magnifications:
                if m in facts and (said := facts[m].encoder):
                    found.encoders.setdefault(said, []).append(f"{slide} ({m}x)")
                    if backbones.contradicts(said, reader.backbone, reader.dim):
                        found.misnamed.append(f"{slide} ({m}x) is of {said}, not of {reader.backbone}")
            if shapes is not None:
                if lacking := tuple(m for m in magnifications if m not in shapes):
                    found.without_scale[slide] = lacking
                elif empty := tuple(m for m in magnifications if not shapes[m][0]):
                    found.empty[slide] = empty
                for m in magnifications:
                    if m in shapes and shapes[m][0]:  # an empty matrix may have lost its width
                        found.widths.setdefault(shapes[m][1], []).append(f"{slide} ({m}x)")
        if progress:
            progress(done + 1, len(every))
    return found
