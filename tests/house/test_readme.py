"""The README says what is true: its tables and its commands."""

import re
import shlex

import pytest
from checkout import ROOT
from milsurv.datasets.backbones import BACKBONES
from milsurv.datasets.cohorts import COHORTS
from milsurv.models.registry import specs

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def rows(first_column: str) -> list[list[str]]:
    """Cells of the table whose first heading is this."""
    table = README[README.index(f"| {first_column} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_model_is_in_the_table_with_the_scales_it_reads():
    stated = {name.strip(" `"): cells[1] for cells in rows("model") for name in cells[0].split(",")}
    true = {
        spec.name: "one scale" if spec.family == "single-scale" else ", ".join(f"{m}x" for m in spec.scales)
        for spec in specs()
    }
    assert stated == true


def test_every_cohort_is_in_the_table_with_its_public_counts():
    stated = {cells[0].strip("`"): tuple(map(int, cells[1:])) for cells in rows("cohort")}
    assert stated == {c.name: (c.patients, c.slides, c.events) for c in COHORTS.values()}


def test_every_backbone_is_named():
    stated = set(re.findall(r"`([^`]+)`", README[README.index("Backbones known") :].split("Features of")[0]))
    assert stated == set(BACKBONES)


@pytest.mark.parametrize("name", ["main", "test"])
def test_each_command_of_the_readme_is_one_line_that_sets_everything_up(name):
    block = README[README.index(f"<!-- {name} command -->") :].split("```")[1].removeprefix("bash\n").strip()
    assert "\n" not in block
    assert block.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt ")
    assert shlex.split(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_option_that_is_mentioned_exists(page):
    from milsurv.benchmark.cli.main import app
    from typer.main import get_command

    def options(command) -> set[str]:
        own = {name for parameter in command.params for name in parameter.opts}
        return own.union(*(options(sub) for sub in getattr(command, "commands", {}).values()))

    known = options(get_command(app)) | {"--help"}
    for line in re.findall(r"`bench [^`\n]*`|^bench .*$", page.read_text(), re.MULTILINE):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line):
            assert option in known, f"{page.name}: {option}"


def test_no_page_speaks_of_where_or_how_it_was_made():
    for page in PAGES:
        for word in ("/work/", "/tmp/", "/root/", "pypi.org/simple", "shared/"):
            assert word not in page.read_text(), f"{page.name}: {word}"
