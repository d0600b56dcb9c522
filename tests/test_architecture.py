"""One roof on three rooms: what may import what."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("benchmark", "datasets", "leaderboards", "models", "survival")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]

FILES_OF_DATASETS = [path for path in FILES if path.is_relative_to(ROOT / "datasets")]

ONE_IMPORTER = {
    "mlflow": {"benchmark/results/tracking.py"},
    "sksurv": {f"survival/{name}.py" for name in ("metrics", "cox", "risk_groups")},
    "rich": {"benchmark/cli/console.py"},
    "openslide": {"datasets/slides/slide.py"},
    "skimage": {"datasets/slides/tissue.py"},
    "requests": {"datasets/gdc/search.py"},
    "tenacity": {"datasets/gdc/search.py"},
    "cachetools": {"datasets/bags.py"},
}
ONE_FOLDER = {
    "h5py": "datasets/features",
    "typer": "benchmark/cli",
    "timm": "datasets/encoders",
    "transformers": "datasets/encoders",
}
DATASETS = (  # folders and files of datasets/, each of which imports only those before it
    *("findings", "patient", "split", "truth", "cohorts", "backbones", "layout", "worker"),
    *("slides", "encoders", "features", "bags", "labels", "folds", "gdc", "simulated", "check"),
)
UPWARDS = ("cache", "ranking", "entries", "render")  # folders of leaderboards/
WAYS_IN = ("publish", "committed", "figure_set", "cached_evidence")


@cache
def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, ours as `milsurv.room.module`."""
    here = ("milsurv", *path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def test_a_folder_of_the_leaderboards_imports_only_those_below_it():
    folders = {path.parent.name for path in (ROOT / "leaderboards").glob("*/*.py")}
    assert folders == set(UPWARDS)
    for place, folder in enumerate(UPWARDS):
        above = {f"milsurv.leaderboards.{other}" for other in (*UPWARDS[place + 1 :], *WAYS_IN)}
        for path in (ROOT / "leaderboards" / folder).rglob("*.py"):
            wrong = {name for name in imports(path) if any(name == o or name.startswith(o + ".") for o in above)}
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_a_place_in_datasets_imports_only_those_before_it():
    places = {path.relative_to(ROOT / "datasets").parts[0].removesuffix(".py") for path in FILES_OF_DATASETS}
    assert places == set(DATASETS)
    for path in FILES_OF_DATASETS:
        place = path.relative_to(ROOT / "datasets").parts[0].removesuffix(".py")
        later = {f"milsurv.datasets.{other}" for other in DATASETS[DATASETS.index(place) + 1 :]}
        wrong = {name for name in imports(path) if any(name == o or name.startswith(o + ".") for o in later)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


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
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


@pytest.mark.parametrize(
    ("what", "home"),
    [
        (r"\bos\.(replace|rename|fsync)\b|\.replace\([a-z_]*(path|folder|directory|target|old)\)|mkstemp", "files.py"),
        (r"get_close_matches|SequenceMatcher", "names.py"),
    ],
)
def test_one_writer_of_whole_files_and_one_nearest_match(what, home):
    everything = [*FILES, *ROOT.glob("*.py")]
    users = {str(path.relative_to(ROOT)) for path in everything if re.search(what, path.read_text(encoding="utf-8"))}
    assert users == {home}


@pytest.mark.parametrize("name", ["DataError", "UsageError", "UnknownName", "RowError", "CannotWrite"])
def test_every_kind_of_mistake_is_defined_once(name):
    everything = [*FILES, *ROOT.glob("*.py")]
    homes = [str(p.relative_to(ROOT)) for p in everything if re.search(rf"^class {name}\b", p.read_text("utf-8"), re.M)]
    assert homes == ["errors.py"]
