"""The page of an experiment: every reading, every metric, names as text, and nothing from a network."""

import html
import json
from pathlib import Path

import pytest
from milsurv import run
from milsurv.benchmark.inference.experiment_page import write_page
from milsurv.errors import RowError
from milsurv.survival.metrics import METRICS


def test_the_page_holds_every_reading_and_shows_names_as_text(cohort_folder, bench, tmp_path):
    run("meanpool", "blca", features=cohort_folder / "features", labels=cohort_folder / "labels.csv", out=tmp_path,
        folds=2, settings={"epochs": 2}, progress=False)  # fmt: skip
    folder = next((tmp_path / "experiments").iterdir())
    odd = "<script>alert(1)</script>"
    for path in folder.glob("fold-*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"folds_name": odd}))
    status, out, _ = bench("report", folder, "--json")
    page = Path(json.loads(out)["report"]).read_text()
    assert status == 0 and (folder / "report.html").is_file()
    assert all(f"Reading: {reading}" in page for reading in ("selected", "last", "best"))
    for name, metric in METRICS.items():  # a mean of p-values says nothing
        title = metric.title.replace("'", "&#39;")
        assert (f'<th scope="row">{title}</th>' in page) is not name.endswith("_p"), name
    assert odd not in page and html.escape(odd) in page and "<script" not in page
    assert page.count("<svg") >= 2 + 3 * 2
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_folder_without_a_finished_fold_is_refused(tmp_path):
    with pytest.raises(RowError, match="no finished fold"):
        write_page(tmp_path)
