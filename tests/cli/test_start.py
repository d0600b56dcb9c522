"""What the command line loads before it knows that there is something to do: modules are counted, never seconds."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "mlflow", "matplotlib", "scipy", "sksurv", "sklearn", "pandas", "optuna", "h5py")
CALL = f"""
import sys, typer
from milsurv.benchmark.cli.main import app
from milsurv.benchmark.cli.mistakes import Failure
try:
    app(sys.argv[1:])
except Failure as failure:
    print(failure)
except SystemExit:
    pass
print(sorted(set(sys.modules) & set({HEAVY})))
"""
SIMULATED = ("--cohort", "brca", "--features", "synthetic")


def start(*words: str) -> list[str]:
    """The lines that a command prints, the last of which names the heavy modules that it loaded."""
    done = subprocess.run([sys.executable, "-c", CALL, *words], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("words", [("--help",), ("list",)], ids=" ".join)
def test_help_and_lists_load_nothing_heavy(words):
    assert start(*words)[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--model", "abmill", *SIMULATED), "unknown model 'abmill'. Did you mean abmil?"),
        (("run", "--model", "abmil", *SIMULATED, "--backbone", "unii"), "unknown backbone 'unii'. Did you mean"),
        (("ablate", "--model", "abmil", "--cohort", "brcaa", "--features", "synthetic"), "Did you mean"),
        (("transfer", "--model", "abmill", "--cohorts", "brca,blca"), "unknown model 'abmill'. Did you mean abmil?"),
    ],
    ids=lambda words: words[0],
)
def test_a_mistyped_name_is_found_before_anything_heavy_is_loaded(words, said):
    *message, loaded = start(*words)
    assert said in "\n".join(message)
    assert loaded == "[]"
