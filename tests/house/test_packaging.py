"""The four folders are sub-packages of `milsurv`, and never packages of their own."""

import subprocess
import sys
import tomllib

import milsurv
from checkout import ROOT

ROOMS = ("benchmark", "datasets", "leaderboards", "models", "survival")


def folders_with_code() -> set[str]:
    found = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    return {"milsurv"} | {"milsurv." + ".".join(path.relative_to(ROOT).parts) for path in found}


def test_every_folder_with_code_is_listed_for_installation():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == folders_with_code()


def test_no_room_is_a_package_that_could_shadow_another_library():
    assert [str(path) for room in ROOMS for path in (ROOT / room).rglob("__init__.py")] == []


def test_python_started_in_the_checkout_does_not_mistake_our_folder_for_hugging_face_datasets():
    code = "import datasets, sys; sys.exit(0 if getattr(datasets, '__file__', None) is None else 1)"
    # A folder without __init__.py gives way to any installed `datasets`; alone it is an empty namespace.
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_package_data_is_on_disk():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package, patterns in data.items():
        for pattern in patterns:
            assert list((ROOT / package.removeprefix("milsurv.").replace(".", "/")).glob(pattern)), pattern


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {"".join(c for c in dep.split(">")[0].split("[")[0] if c not in " =<") for dep in wanted} - {"milsurv"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert names <= pinned


def test_importing_the_root_loads_nothing_of_ours_and_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "mlflow", "sksurv")
    code = f"import sys, milsurv; print(sorted(n for n in sys.modules if n.startswith('milsurv.') or n in {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['milsurv.version']"
    assert milsurv.__version__
