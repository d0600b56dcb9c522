"""Entries that were changed in ways that agree with themselves: what an entry cannot support is a fault of it."""

import json
import re

import pytest
from milsurv.benchmark.verify.entry import verify


def blank(entry, edit, columns, which=lambda number: True):
    """Blank cells of the predictions, and renew the checksums as whoever forges would."""
    header, *lines = edit.lines(entry)
    names = header.split(",")
    changed = [header]
    for number, line in enumerate(lines):
        cells = line.split(",")
        if which(number):
            cells = ["" if columns(name) else cell for name, cell in zip(names, cells, strict=True)]
        changed.append(",".join(cells))
    edit.save(entry, changed)


def claim(entry, edit, **changes):
    """Change numbers of every row; "deleted" deletes one."""
    rows = [json.loads(line) | changes for line in (entry / "rows.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in row.items() if value != "deleted"} for row in rows]
    (entry / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    edit.seal(entry)


def faults_of(entry):
    return verify(entry, simulate=False).faults


def last(name):
    return name == "survival_4"


def survival(name):
    return name.startswith("survival_")


@pytest.mark.parametrize(
    ("columns", "which", "message"),
    [
        (survival, lambda number: number % 7 == 0, "it is not whole"),
        (last, lambda number: True, "it is not whole"),
        (survival, lambda number: True, r"ibs_selected is 0\.\d+, yet no survival probabilities were given"),
        (lambda name: name == "risk_group", lambda number: number % 7 == 0, "no risk group, others have one"),
    ],
)
def test_survival_or_groups_that_are_blank_in_places_do_not_pass_unchecked(entry, edit, columns, which, message):
    blank(entry, edit, columns, which)
    claim(entry, edit, ibs_selected=0.01)
    assert any(re.search(message, fault) for fault in faults_of(entry))


def test_survival_columns_that_were_dropped_leave_metrics_that_nothing_supports(entry, edit):
    header, *lines = edit.lines(entry)
    kept = [at for at, name in enumerate(header.split(",")) if not survival(name)]
    edit.save(entry, [",".join(line.split(",")[at] for at in kept) for line in (header, *lines)])
    assert any("the entry cannot support it" in fault for fault in faults_of(entry))


def test_a_log_rank_p_without_risk_groups_is_a_fault(entry, edit):
    blank(entry, edit, lambda name: name == "risk_group")
    claim(entry, edit, logrank_p_selected=1e-9)
    assert any("logrank_p_selected is 1e-09, yet no risk groups were given" in fault for fault in faults_of(entry))


@pytest.mark.parametrize("metric", ["ibs_selected", "ici_12_selected", "logrank_p_last", "uno_c_best"])
def test_a_metric_that_was_deleted_from_the_rows_is_missed(entry, edit, metric):
    claim(entry, edit, **{metric: "deleted"})
    assert any(f"has no {metric}" in fault for fault in faults_of(entry))


def test_a_wrong_brier_score_is_a_fault(entry, edit):
    claim(entry, edit, ibs_selected=0.01)
    assert any(re.search(r"ibs_selected is 0\.01, the predictions give 0\.\d+", fault) for fault in faults_of(entry))
