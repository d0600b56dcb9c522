"""What the published boards of the planted cohorts say of each model: `bench ablate --grid planted`, default recipe."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

BOARDS = Path(__file__).resolve().parents[1] / "leaderboards" / "published" / "boards"
NONE = "\N{EN DASH}"
FOLDS = "stratified-5-seed0"
COHORTS = {
    "planted-fine": "a pattern that only 20x shows",
    "planted-coarse": "an architecture that only 5x shows",
    "planted-cross": "whether the two lie in the same place",
    "planted-null": "nothing",
}


@dataclass(frozen=True)
class Fares:
    """One line of a board: place among `of` lines, C-index and interval as printed, whether it may be the best, the
    scale that it reads, over how many seeds, and the C-index of the true hazard."""

    place: int
    of: int
    c_index: str
    interval: str
    best: bool
    reads: str
    seeds: int
    oracle: str

    @property
    def cell(self) -> str:
        """C-index with its interval; bold where the line may be the best."""
        value = f"**{self.c_index}**" if self.best else self.c_index
        return f"{value} {self.interval}"


def published(cohort: str) -> dict[str, Fares]:
    """The lines of a cohort's board, by model; of one that read several scales, the best. Empty where nothing is
    published with these folds.
    """
    path = BOARDS / f"{cohort}-synthetic.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, found, section = text.partition(f"): folds {FOLDS}\n")
    if not found:
        return {}
    rows = [
        [cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")]
        for line in section.partition("\n## ")[0].splitlines()
        if line.startswith("| ")
    ]
    header, lines = rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    assert {"#", "Model", "Mark", "Reads", "Seeds", "C-index (selected)", "95 % interval", "Oracle C"} <= set(header), (
        header
    )
    found: dict[str, Fares] = {}
    for line in lines:
        if line["Recipe"] in ("default", NONE):
            one = Fares(
                int(line["#"]),
                len(lines),
                line["C-index (selected)"].partition(" ")[0],
                line["95 % interval"],
                "may be best" in line["Mark"],
                line["Reads"].replace("\N{MULTIPLICATION SIGN}", "x"),
                int(line["Seeds"]),
                line["Oracle C"],
            )
            found.setdefault(line["Model"], one)
    return found


def matrix() -> str:
    """The table of docs/planted.md: models by cohorts, in the order of their mean over those with a hazard."""
    found = {cohort: published(cohort) for cohort in COHORTS}
    names = dict.fromkeys(name for lines in found.values() for name in lines)

    def order(name: str) -> float:
        return -mean(float(lines[name].c_index) for lines in list(found.values())[:3] if name in lines)

    head = [
        f"| model | {' | '.join(cohort.removeprefix('planted-') for cohort in COHORTS)} |",
        "| --- |" + " ---: |" * 4,
    ]
    oracle = [next((line.oracle for line in lines.values()), NONE) for lines in found.values()]
    rows = [f"| *oracle* | {' | '.join(oracle)} |"]
    for name in sorted(names, key=order):
        cells = [lines[name].cell if name in lines else NONE for lines in found.values()]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*head, *rows])


def fares(model: str) -> list[str]:
    """The lines of a model's page that say how it fares; none where nothing is published."""
    found = [(cohort, lines) for cohort in COHORTS if model in (lines := published(cohort))]
    if not found:
        return []
    head = [
        "| cohort | what shows the hazard | reads | C-index | oracle | place |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    rows = [
        f"| `{cohort}` | {COHORTS[cohort]} | {one.reads} | {one.cell} | {one.oracle} | {one.place} of {one.of} |"
        for cohort, lines in found
        for one in [lines[model]]
    ]
    seeds = min(lines[model].seeds for _, lines in found)
    over = "over patients alone, for one seed says nothing of other trainings" if seeds == 1 else f"over {seeds} seeds"
    said = (
        "On the [planted cohorts](../planted.md), 600 patients, five folds, with its defaults: mean C-index with its "
        f"95 % interval ({over}), in bold where no line is shown to be above it. All of it is on the "
        "[boards](../../leaderboards/README.md)."
    )
    return ["", "## How it fares", "", said, "", *head, *rows]
