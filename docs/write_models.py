"""Write docs/models/*.md and the tables of docs/models.md from the registry, and how models fare from the boards.

    python docs/write_models.py            write
    python docs/write_models.py --check    exit with status 1 if a page does not follow

Measured time and memory come from docs/models/cost.json, which `python docs/bench_memory.py --all` writes. How a model
fares on the planted cohorts, there and in docs/planted.md, is read from leaderboards/published/boards.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from milsurv.models.registry import specs
from milsurv.models.spec import ModelSpec
from published_boards import fares, matrix

DOCS = Path(__file__).resolve().parent
START, END = "<!-- written by docs/write_models.py -->", "<!-- end -->"
COSTS, COSTS_END = "<!-- costs, written by docs/write_models.py -->", "<!-- end of costs -->"
MATRIX, MATRIX_END = "<!-- matrix, written by docs/write_models.py -->", "<!-- end of matrix -->"
WIDTH, OUTPUTS = 1536, 4


def parameters(spec: ModelSpec, hyperparameters: Mapping[str, object]) -> str:
    """Trained and fixed parameters at 1536-wide features and 4 outputs, in millions."""
    model = spec.build(WIDTH, OUTPUTS, **hyperparameters)
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"


def summary(spec: ModelSpec) -> str:
    """The first line of the model's file."""
    own = f"milsurv.models.{spec.name.replace('-', '_')}"
    name = own if importlib.util.find_spec(own) else spec.build.__module__
    line = (importlib.import_module(name).__doc__ or "").splitlines()[0].rstrip(".")
    head, _, rest = line.partition(": ")
    return rest or head


def scales(spec: ModelSpec) -> str:
    """The magnifications that a model reads, in words."""
    return "one (20x)" if spec.family == "single-scale" else ", ".join(f"{m}x" for m in spec.scales)


def reads(spec: ModelSpec) -> str:
    """What a model reads, in a sentence."""
    single = spec.family == "single-scale"
    what = "patches at 20x, or at the `scale` it is given" if single else f"patches at {scales(spec)}"
    places = ", with their coordinates" if spec.places else ""
    return f"{what}{places}. Their order {'does not matter' if spec.order_free else 'matters'}."


def value(x: object) -> str:
    """A hyperparameter's value."""
    return "-" if x is None else f"{x:g}" if isinstance(x, float) else str(x)


def choices(spec: ModelSpec, name: str) -> str:
    """What a tuner may try for a hyperparameter."""
    space = spec.search_space.get(name)
    if isinstance(space, tuple):
        return ", ".join(map(value, space))
    return "" if space is None else f"{space['low']} to {space['high']}" + (", log" if space.get("log") else "")


def hyperparameter(spec: ModelSpec, name: str) -> tuple[str, ...]:
    """The cells of one hyperparameter."""
    return f"`{name}`", value(spec.defaults[name]), value(spec.reference_defaults[name]), choices(spec, name)


def measured(spec: ModelSpec, cost: Mapping[str, list[dict[str, object]]]) -> list[str]:
    """The lines of time and memory, where they were measured."""
    rows = cost.get(spec.name, [])
    if not rows:
        return []
    head = ["| patches | forward + backward | peak | evaluation | peak |", "| --- | --- | --- | --- | --- |"]
    columns = ("patches", "training", "training_peak", "evaluation", "evaluation_peak")
    lines = [f"| {' | '.join(str(row[column]) for column in columns)} |" for row in rows]
    return ["", "Measured with the published hyperparameters: [how](../models.md#time-and-memory).", "", *head, *lines]


def page(spec: ModelSpec, cost: Mapping[str, list[dict[str, object]]]) -> str:
    """The page of one model."""
    code = f"{spec.repository}, licence: {spec.licence}" if spec.repository else "none"
    lines = [
        f"# {spec.title} (`{spec.name}`)",
        "",
        f"{summary(spec)[0].upper()}{summary(spec)[1:]}.",
        "",
        f"- **Reads** {reads(spec)}",
        f"- **Paper** {spec.reference}",
        f"- **Authors' code** {code}. Ours is written from the equations.",
        f"- **Parameters** at {WIDTH}-wide features and {OUTPUTS} outputs: "
        f"{parameters(spec, spec.defaults)} by default, {parameters(spec, spec.reference_defaults)} as published.",
        f"- **Learning rate** of the default recipe: {spec.learning_rate:g} ([how it was chosen]"
        "(../protocol.md#learning-rates))",
        "",
        "## Equation",
        "",
        spec.equation.rstrip(".") + ".",
        "",
        "## Cost",
        "",
        spec.cost.rstrip(".") + ".",
        *measured(spec, cost),
        *fares(spec.name),
        "",
        "## Hyperparameters",
        "",
        "| name | default | published | a tuner tries |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(hyperparameter(spec, name))} |" for name in spec.defaults),
    ]
    if spec.defects:
        lines += ["", "## What of the published code is a defect or a choice, and what is done here", ""]
        lines += [f"- {defect}" for defect in spec.defects]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The table of docs/models.md."""
    lines = [
        "| name | what it does | scales | coordinates | parameters: default | published | paper |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for spec in specs():
        counts = [parameters(spec, h) for h in (spec.defaults, spec.reference_defaults)]
        places = "yes" if spec.places else ""
        cells = [f"[`{spec.name}`](models/{spec.name}.md)", summary(spec), scales(spec), places, *counts, short(spec)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def costs(cost: Mapping[str, list[dict[str, object]]]) -> str:
    """The table of measured costs in docs/models.md: time and peak of a step by size, and growth from 15,000 on."""
    lines = [
        "| model | 1,000 | 15,000 | 60,000 | time from 15,000 to 60,000 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for spec in specs():
        rows = cost.get(spec.name, [])
        if not rows:
            continue
        cells = [f"{row['training']}, {row['training_peak']}" for row in rows] + [""] * (3 - len(rows))
        seconds = [float(str(row["training"]).split()[0]) for row in rows]
        grown = f"x {seconds[2] / seconds[1]:.1f}" if len(rows) == 3 and seconds[1] > 0 else ""
        lines.append(f"| `{spec.name}` | {' | '.join(cells)} | {grown} |")
    return "\n".join(lines)


def short(spec: ModelSpec) -> str:
    """First author and year of the paper."""
    author = spec.reference.partition(":")[0].partition(",")[0].removesuffix(" et al.")
    years = [word.strip(".,:;()") for word in spec.reference.split() if word.strip(".,:;()").isdigit()]
    year = next((y for y in years if len(y) == 4 and y.startswith("20")), "")
    return f"{author} {year}".strip() if ":" in spec.reference else spec.reference.rstrip(".")


def pages() -> dict[Path, str]:
    """Every page and its text."""
    path = DOCS / "models" / "cost.json"
    cost = json.loads(path.read_text()) if path.exists() else {}
    overview = (DOCS / "models.md").read_text()
    before, _, rest = overview.partition(START)
    overview = f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"
    before, _, rest = overview.partition(COSTS)
    written = {DOCS / "models.md": f"{before}{COSTS}\n{costs(cost)}\n{COSTS_END}{rest.partition(COSTS_END)[2]}"}
    before, found, rest = (DOCS / "planted.md").read_text().partition(MATRIX)
    if found:
        written[DOCS / "planted.md"] = f"{before}{MATRIX}\n{matrix()}\n{MATRIX_END}{rest.partition(MATRIX_END)[2]}"
    return written | {DOCS / "models" / f"{spec.name}.md": page(spec, cost) for spec in specs()}


def main() -> None:
    """Write the pages, or say which do not follow."""
    parser = argparse.ArgumentParser(description="Pages on the models, from the registry.")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in sorted((DOCS / "models").glob("*.md")) if path not in wanted]
    for path in stale:
        print(f"{'does not follow the registry' if check else 'written'}: {path.relative_to(DOCS)}")
        if check:
            continue
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
