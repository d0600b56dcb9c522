"""The page on models names every model and hyperparameter, and its examples run."""

import json
import re
import subprocess
import sys

import pytest
import torch
from checkout import ROOT
from milsurv.models import registry

DOCS = ROOT / "docs"
PAGE = (DOCS / "models.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_the_page_names_the_model_and_its_hyperparameters(spec) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| [`{spec.name}`](models/{spec.name}.md) | "))
    for hyperparameters in (spec.defaults, spec.reference_defaults):
        millions = sum(p.numel() for p in spec.build(1536, 4, **hyperparameters).parameters()) / 1e6
        assert f"| {millions:.2f} M |" in row
    own = (DOCS / "models" / f"{spec.name}.md").read_text()
    assert all(f"| `{name}` |" in own for name in spec.defaults)


def test_learning_rates_are_those_of_the_table_that_chose_them() -> None:
    text = (DOCS / "protocol.md").read_text().partition("<!-- learning rates -->")[2].partition("<!-- end")[0]
    lines = re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE)
    measured = {name: float(rate) for name, rate in lines}
    others = set(re.findall(r"`([^`]+)`", text.partition("Not measured yet")[2]))
    assert measured.keys() | others == set(registry.NAMES) and not measured.keys() & others
    assert {spec.name: spec.learning_rate for spec in registry.specs()} == dict.fromkeys(others, 5e-4) | measured


@pytest.mark.parametrize("spec", registry.specs(), ids=lambda s: s.name)
def test_a_spec_says_what_the_model_computes_and_costs(spec) -> None:
    assert spec.equation and spec.cost
    assert bool(spec.repository) == bool(spec.licence)


def test_the_pages_follow_the_registry() -> None:
    done = subprocess.run([sys.executable, DOCS / "write_models.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_how_models_fare_is_what_the_published_rows_say() -> None:
    rows = [json.loads(line) for line in (ROOT / "leaderboards/published/planted/rows.jsonl").read_text().splitlines()]
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault((row["model"], row["cohort"]), {}).setdefault(row["experiment"], []).append(
            row["c_index_selected"]
        )
    shown = 0
    for model in registry.NAMES:
        page = (DOCS / "models" / f"{model}.md").read_text().partition("## How it fares")[2]
        for cohort, c_index in re.findall(r"^\| `(planted-\w+)` \|[^|]*\|[^|]*\| \**([0-9.]+)", page, re.MULTILINE):
            best = max(sum(folds) / len(folds) for folds in found[model, cohort].values())
            assert float(c_index) == pytest.approx(best, abs=6e-4), (model, cohort)
            shown += 1
    assert shown == len({key for key in found if key[0] in registry.NAMES}) > 100


def test_the_example_of_use_runs() -> None:
    names: dict[str, object] = {}
    exec(EXAMPLES[0], names)
    assert names["logits"].shape == (1, 4)


def test_the_example_of_a_new_model_is_a_model() -> None:
    names = {"__package__": "milsurv.models", "__name__": "milsurv.models.medianpool"}
    exec(EXAMPLES[1], names)
    model = names["SPEC"].build(6, 3, scale=5).eval()
    x = torch.randn(7, 6)
    scores = model({5: x}, {5: torch.tensor([3, 4])})
    torch.testing.assert_close(scores[1], model.module.head(x[3:].median(0).values))
