"""One roof on three rooms: what may import what."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from checkout import ROOT

ROOMS = ("benchmark", "datasets", "leaderboards", "models", "survival")
FILES = [*sorted(ROOT.glob("*.py")), *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]
ORDER = {  # CONTRIBUTING states the order of the places (files and folders) of each room, from the ground up
    room: places.split(", ")
    for room, places in re.findall(r"^(\w+): +(.+)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    if room in ROOMS
}
COMPUTED_IN = {  # functions that give it, and the only files that may call them
    "C-index": ({"concordance_index_censored", "concordance_index"}, set()),  # ours counts pairs itself
    "Kaplan-Meier": ({"kaplan_meier_estimator", "ecdf", "KaplanMeierFitter"}, {"survival/kaplan_meier.py"}),
    "log-rank": ({"compare_survival", "logrank", "logrank_test"}, {"survival/risk_groups.py"}),
    "whole files": ({"replace a path", "rename", "mkstemp", "NamedTemporaryFile", "fsync"}, {"files.py"}),
    "did you mean": ({"get_close_matches", "SequenceMatcher"}, {"names.py"}),
}
DEFINED_IN = {
    "c_index": "survival/concordance.py",
    "logrank_p": "survival/risk_groups.py",
    "write_whole": "files.py",
    "did_you_mean": "names.py",
}

ONE_IMPORTER = {
    "sksurv": {f"survival/{name}.py" for name in ("metrics", "cox", "risk_groups")},
    "rich": {"benchmark/console.py"},
    "optuna": {"benchmark/tuning/study.py"},
    "openslide": {"datasets/slides/slide.py"},
    "skimage": {"datasets/slides/tissue.py"},
    "simplejpeg": {"datasets/slides/jpeg_levels.py"},
    "requests": {"datasets/gdc/search.py"},
    "tenacity": {"datasets/gdc/search.py"},
}
ONE_FOLDER = {
    "h5py": "datasets/features",
    "typer": "benchmark/cli",
    "timm": "datasets/encoders",
    "mlflow": "benchmark/results/tracking",
    "transformers": "datasets/encoders",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, ours as `milsurv.room.module`."""
    here = ("milsurv", *path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return found


@pytest.mark.parametrize("room", ["datasets", "leaderboards", "models", "survival"])
def test_rooms_import_neither_each_other_nor_the_roof(room):
    others = {f"milsurv.{other}" for other in ROOMS if other not in (room, "survival")}
    for path in (ROOT / room).rglob("*.py"):
        wrong = {name for name in imports(path) if any(name == o or name.startswith(o + ".") for o in others)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def module_of(path: Path) -> str:
    return ".".join(["milsurv", *path.relative_to(ROOT).with_suffix("").parts])


def place_of(path: Path) -> str:
    """The place of a file in its room: a folder, or the file itself."""
    inside = path.relative_to(ROOT).parts[1:]
    return inside[0] if len(inside) > 1 else path.stem


def places_of(room: str) -> dict[str, set[str]]:
    """The places of a room, and what each of them imports of the others."""
    files = sorted((ROOT / room).rglob("*.py"))
    home = {module_of(path): place_of(path) for path in files}
    found: dict[str, set[str]] = {place: set() for place in home.values()}
    for path in files:
        found[place_of(path)] |= {home[name] for name in imports(path) & home.keys()} - {place_of(path)}
    return found


@pytest.mark.parametrize("room", ORDER)
def test_no_import_runs_back_up(room):
    places = places_of(room)
    others = sorted(places.keys() - set(ORDER[room]))  # `*` is every place that is not named
    order = [place for name in ORDER[room] for place in (others if name == "*" else [name])]
    assert sorted(order) == sorted(places), "CONTRIBUTING names every place of a room, once"
    back = {
        (place, other)
        for place, imported in places.items()
        for other in imported
        if order.index(other) > order.index(place) or {place, other} <= set(others)
    }
    assert not back


def test_the_roof_is_small_enough_to_read():
    places = places_of("benchmark")
    level: dict[str, int] = {}
    for place in TopologicalSorter(places).static_order():
        level[place] = 1 + max((level[other] for other in places[place]), default=0)
    assert len(places) <= 20 and max(level.values()) <= 8


def test_no_circle_of_files():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): imports(path) & modules - {module_of(path)} for path in FILES}
    list(TopologicalSorter(graph).static_order())  # CycleError shows the circle


def called(path: Path) -> set[str]:
    """Names of the functions that a file calls; `replace` of a path, which takes one argument, is `replace a path`."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            of_os = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "os"
            one = isinstance(node.func, ast.Attribute) and len(node.args) == 1 and not node.keywords
            found.add("replace a path" if name == "replace" and (one or of_os) else name)
    return found


@pytest.mark.parametrize("what", COMPUTED_IN)
def test_what_anybody_could_compute_is_computed_in_one_file(what):
    names, home = COMPUTED_IN[what]
    assert {str(path.relative_to(ROOT)) for path in FILES if names & called(path)} == home


def compares_times_pairwise(path: Path) -> bool:
    """Whether a matrix of patients by patients is made from their times: a C-index by hand starts so."""
    return any(
        isinstance(node, ast.Compare)
        and re.search(r"\btimes?\b", ast.unparse(node))
        and any(isinstance(part, ast.Subscript) and "None" in ast.unparse(part.slice) for part in ast.walk(node))
        for node in ast.walk(tree(path))
    )


def test_pairs_of_patients_are_counted_in_one_file():
    risk_sets = {"survival/kaplan_meier.py", "benchmark/training/proportional_hazards.py"}  # at risk; Cox on tensors
    found = {str(path.relative_to(ROOT)) for path in FILES if compares_times_pairwise(path)}
    assert found == {"survival/concordance.py", *risk_sets}


@pytest.mark.parametrize("name", DEFINED_IN)
def test_one_name_has_one_definition(name):
    nodes = [(path, node) for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
    assert [str(path.relative_to(ROOT)) for path, node in nodes if node.name == name] == [DEFINED_IN[name]]


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_a_big_library_has_one_importer(library):
    users = {str(p.relative_to(ROOT)) for p in FILES if any(n.split(".")[0] == library for n in imports(p))}
    assert users == ONE_IMPORTER[library]


@pytest.mark.parametrize("library", ONE_FOLDER)
def test_a_library_that_several_files_need_stays_in_one_folder(library):
    users = {p for p in FILES if any(n.split(".")[0] == library for n in imports(p))}
    assert users
    assert {str(p.parent.relative_to(ROOT)) for p in users} == {ONE_FOLDER[library]}


def test_models_know_torch_and_nothing_heavier():
    allowed = {"torch", "milsurv", *sys.stdlib_module_names}
    for path in (ROOT / "models").rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


def test_imports_inside_the_project_are_relative():
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] != "milsurv", path


def test_no_file_is_called_utils_common_base_or_helpers():
    assert not [path for path in FILES if path.stem in {"utils", "common", "base", "helpers"}]


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = {"torch", "mlflow", "sksurv", "pandas", "optuna", "h5py", "matplotlib", "scipy", "numpy"}
    heavy |= {"openslide", "PIL", "skimage", "timm"}
    code = f"import sys, milsurv.benchmark.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["DataError", "UsageError", "UnknownName", "RowError", "CannotWrite"])
def test_every_kind_of_mistake_is_defined_once(name):
    homes = [str(p.relative_to(ROOT)) for p in FILES if re.search(rf"^class {name}\b", p.read_text("utf-8"), re.M)]
    assert homes == ["errors.py"]
