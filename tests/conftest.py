"""What many tests share: a simulated cohort, a cache, and `bench` as a shell would call it.

Whatever takes long is made once, by the first process that asks for it, and only read by all others.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

# Small tensors, and a worker on every core: threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
hypothesis.settings.register_profile("milsurv", deadline=None)  # a test that fails by the clock says nothing
hypothesis.settings.load_profile("milsurv")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: whoever is done takes over what is left, and that is short then."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session that all its processes see."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(shared: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)`: the folder of this name, which `make(folder)` fills once in a session."""

    def call(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return call


@pytest.fixture(scope="session", autouse=True)
def cache(shared: Path):
    """Boards are computed, and MLflow's tables made, once a session. The user's cache is neither read nor filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILSURV_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def cohort_folder(made_once) -> Path:
    """60 patients with 32 wide features at three magnifications, and a strong hazard: labels.csv, features/tiny/."""
    from milsurv.datasets.simulated.cohort import simulate_cohort

    def draw(folder: Path) -> None:
        simulate_cohort("blca", "tiny", folder / "blca", patients=60, cells=1.5, dim=32)

    return made_once("simulated", draw) / "blca"


@pytest.fixture
def bench(capsys, monkeypatch):
    """Call `bench` as a shell would: (status, standard output, standard error)."""

    from milsurv.benchmark.cli import main as cli

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call
