"""The row of a Result: one dataclass, flat JSON on disk, its metrics those of the registry."""

import json
import math
from dataclasses import fields

import pytest
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st
from milsurv.errors import RowError
from milsurv.leaderboards.result_row import READINGS, ResultRow, metric_columns, parse_row
from milsurv.survival import metrics
from milsurv.survival.metric import Metric

PUBLISHED = ROOT / "leaderboards" / "published"


def plain(**changes):
    """The JSON object of a finished fold."""
    scores = {f"{metric}_{reading}": 0.5 for metric in metrics.METRICS for reading in READINGS}
    return {
        "schema": 1, "status": "finished", "experiment": "0123456789", "fold": 0, "n_folds": 3, "seed": 0,
        "model": "abmil", "family": "single-scale", "scales": "20", "cohort": "blca", "synthetic": False,
        "backbone": "uni2-h", "loss": "nll", "recipe": "default", "slides": "concat", "folds_name": "official",
        "hyperparameters": "{}", "labels_fingerprint": "aa", "folds_fingerprint": "bb", "patients": 9, "events": 4,
        "n_test": 3, "events_test": 1, **scores, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("entry", ["planted", "tcga"])
def test_every_published_row_is_read_and_written_with_the_same_values(entry):
    for line in (PUBLISHED / entry / "rows.jsonl").read_text(encoding="utf-8").splitlines():
        before = json.loads(line)
        after = parse_row(before).to_json()
        assert {key: after[key] for key in before} == before
        assert all(after[key] is None for key in after.keys() - before.keys())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(sorted(plain())), json_values)
def test_a_row_is_refused_with_the_key_or_gives_back_what_it_was_given(key, value):
    found = plain() | {key: value}
    try:
        row = parse_row(found)
    except RowError as error:
        assert key in str(error)
    else:
        assert parse_row(row.to_json()) == row
        assert row.to_json()[key] == value
        json.dumps(row.to_json(), allow_nan=False)


def test_every_fault_of_a_row_is_named_at_once():
    with pytest.raises(RowError) as caught:
        parse_row(plain(model=None, fold=True, c_index_best=1.2, error=7))
    for words in ("model is None", "fold is True", "c_index_best is 1.2", "error is 7"):
        assert words in str(caught.value)


def test_a_key_of_another_version_is_kept():
    row = parse_row(plain(new_column={"a": [1]}))
    assert row.extra == {"new_column": {"a": [1]}} and row.to_json()["new_column"] == {"a": [1]}


def test_a_value_that_is_not_finite_is_none_with_the_reason():
    found = {"c_index": 0.6, "ibs": math.nan, "uno_c": math.inf, "ici_12": None, "why_ici_12": "too few"}
    row = parse_row(plain()).with_scores("last", found)
    assert row.score("c_index_last") == 0.6
    assert [row.score(f"{name}_last") for name in ("ibs", "uno_c", "ici_12")] == [None] * 3
    assert "not a finite number (nan)" in row.reasons["ibs_last"] and row.reasons["ici_12_last"] == "too few"
    json.dumps(row.to_json(), allow_nan=False)


def test_a_metric_of_the_registry_is_a_column_at_every_reading(monkeypatch):
    month_error = Metric("error_months", "error in months", False, lambda *_: 7.0, bounds=(0.0, 240.0))
    older, plain_row = plain(error_months_last=7.5), plain()
    assert parse_row(older).extra == {"error_months_last": 7.5}
    monkeypatch.setattr(metrics, "METRICS", {**metrics.METRICS, "error_months": month_error})
    assert {f"error_months_{reading}" for reading in READINGS} <= set(metric_columns())
    assert parse_row(older).score("error_months_last") == 7.5
    assert parse_row(plain_row).summary()["error_months"] == dict.fromkeys(READINGS)
    with pytest.raises(RowError, match="error_months_best is 300; expected a number between 0 and 240, or null"):
        parse_row(plain(error_months_best=300))


def test_every_field_is_documented():
    words = str(ResultRow.__doc__)
    assert [f.name for f in fields(ResultRow) if f"\n    {f.name}\n        " not in words] == []
