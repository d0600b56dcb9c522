"""The pages say what is true: their links, paths, module names, Python examples and finding codes."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkout import ROOT

ROOMS = ("survival", "models", "datasets", "leaderboards", "benchmark", "tests", "docs")
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
WRITTEN = [*TOP, *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "leaderboards").rglob("*.md"))]


def named(path: Path) -> str:
    """A page, as tests are called after it."""
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{named(page)} -> {target}"
        if anchor:
            assert anchor in anchors(there), f"{named(page)} -> {target}"


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_file_of_the_project_that_is_mentioned_exists(page):
    text = page.read_text(encoding="utf-8")
    mentioned = re.findall(rf"(?<![\w/.<>-])((?:{'|'.join(ROOMS)})/[\w./-]*?\.(?:py|md|json|toml))\b", text)
    mentioned += re.findall(rf"`((?:{'|'.join(ROOMS)})/(?:[\w-]+/)*)`", text)
    mentioned = [path for path in mentioned if f"]({path})" not in text]  # a link, from the folder of its page
    new = re.findall(r"^# (\S+\.py)$", text, re.MULTILINE)  # an example of a file to add says so in its first line
    for path in set(mentioned) - set(new):
        if not path.startswith("leaderboards/published/my-entry"):
            assert (ROOT / path).exists(), f"{named(page)}: {path}"


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_every_python_name_that_is_mentioned_can_be_imported(page):
    text = page.read_text(encoding="utf-8")
    groups = set(re.findall(r'entry-points\."([\w.]+)"', (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    for name in set(re.findall(r"`(milsurv(?:\.\w+)+)(?:\(|`)", text)) - groups - {"milsurv.models"}:
        assert resolved(name), f"{named(page)}: {name}"


def resolved(name: str) -> bool:
    """Whether a dotted name is a module or package of milsurv, or something in one."""
    parts = name.split(".")
    if (ROOT.joinpath(*parts[1:])).is_dir():
        return True
    for cut in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("page", WRITTEN, ids=named)
def test_python_examples_compile_and_import_what_exists(page):
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if ">>>" in block:
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("milsurv"):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    assert resolved(name), f"{named(page)}: {name}"


CODE = r"[a-z0-9]+(?:_[a-z0-9]+)+"
TREES = [
    ast.parse(path.read_text(encoding="utf-8"))
    for room in ("datasets", "benchmark")
    for path in (ROOT / room).rglob("*.py")
]
NODES = [node for tree in TREES for node in ast.walk(tree)]


def listed_codes() -> set[str]:
    """Finding codes in the tables of docs/data.md and docs/features.md."""
    data, features = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("data.md", "features.md"))
    tables = [
        page.split(heading)[1].split("\n\n")[0]
        for page, heading in ((data, "| about | codes |"), (features, "| finding |"))
    ]
    return {code for table in tables for code in re.findall(rf"`({CODE})`", table)}


def literals() -> Iterator[str]:
    """Every code-like string of the code, as a regular expression: what an f-string fills in may be any word."""
    for node in NODES:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(CODE, node.value):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            said = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            if re.fullmatch("[a-z_]*[a-z]{3}[a-z_]*", said):
                yield "".join(str(v.value) if isinstance(v, ast.Constant) else "[a-z]+" for v in node.values)


def made_codes() -> set[str]:
    """The first words of `Finding(code, …)`, `finding(code, …)` and `.add(code, …)`, and of tables of kinds."""
    made = set()
    for node in NODES:
        first: list[ast.expr] = []
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", "")).lower()
            first = node.args[:1] if called in ("finding", "add") and len(node.args) > 1 else []
        elif isinstance(node, ast.Tuple) and any(
            " " in word.value for word in node.elts[1:] if isinstance(getattr(word, "value", None), str)
        ):
            first = node.elts[:1]
        for word in first:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and re.fullmatch(CODE, word.value):
                made.add(word.value)
    return made


def test_every_finding_code_of_the_docs_is_one_of_the_code():
    known = re.compile("|".join(f"(?:{literal})" for literal in set(literals())))
    assert sorted(code for code in listed_codes() if not known.fullmatch(code)) == []


def test_every_finding_code_is_in_the_docs():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    made = made_codes()
    assert len(made) > 80
    assert sorted(code for code in made if f"`{code}`" not in text) == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.py")), ids=lambda path: path.name)
def test_scripts_of_the_docs_import_names_that_exist(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "milsurv":
            module = import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}"), alias.name
