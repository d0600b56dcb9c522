"""Coverage: whether every slide has features at every scale, all of one width, seen from headers before training."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from ...errors import DataError, some
from ..findings import Finding, finding
from ..slide_names import side_by_side
from .geometry import nearest
from .reader import Reader


@dataclass(frozen=True)
class Coverage:
    """What a walk over all headers found: slides without a file, without a scale, with an empty scale,
    damaged files, the slides and scales of each width and of each encoder that files name, and those whose files
    name another magnification than they are read at.
    """

    without_file: tuple[str, ...]
    without_scale: dict[str, tuple[int, ...]]
    empty: dict[str, tuple[int, ...]]
    damaged: dict[str, str]
    widths: dict[int, list[str]]
    looked_at: int = 0
    encoders: dict[str, list[str]] = field(default_factory=dict)
    other_scale: list[str] = field(default_factory=list)

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
        faults.append(("slides are of another magnification by their own account", self.other_scale))
        faults = [(text, names) for text, names in faults if names]
        if not faults:
            return
        lines = "".join(f"\n  {len(names)} {text}: {some(names)}" for text, names in faults)
        remedy = "Extract these slides again"
        if not allow_missing and self.unusable:
            remedy += ", or leave slides without features out on purpose with --missing drop"
        raise DataError(f"{folder}: the features cannot be used.{lines}\n{remedy}.")

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
            for m in magnifications:
                if m in facts and (said := facts[m].encoder):
                    found.encoders.setdefault(said, []).append(f"{slide} ({m}x)")
                if m in facts and (claimed := facts[m].geometry.claimed) and nearest(claimed) != m:
                    found.other_scale.append(f"{slide} ({claimed:g}x read as {m}x)")
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
