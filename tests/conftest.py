"""A small synthetic cohort that the tests of the experiment and of the command line share."""

import os
import sys
from pathlib import Path

import pytest

# Small tensors on a busy machine: threads only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Boards are reckoned anew: the user's memory of earlier ones is neither read nor filled.
os.environ["MILSURV_CACHE"] = ""


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 patients with 32 wide features at three magnifications, and a strong hazard: labels.csv, features/tiny/."""
    from milsurv.datasets.simulated.cohort import draw_twin

    folder = tmp_path_factory.mktemp("twin") / "blca"
    return draw_twin("blca", "tiny", folder, patients=60, cells=1.5, dim=32)


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
