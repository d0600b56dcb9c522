"""`bench data check` looks at features as well: what is missing, and whether the scales cover the same tissue."""

import shutil
from pathlib import Path

from milsurv.datasets import cohorts
from milsurv.datasets.check.check import lint
from milsurv.datasets.features.opening import open_features
from milsurv.datasets.features.store import write_slide


def report(twin: Path, features: Path):
    return lint(cohorts.get("blca"), twin / "labels.csv", features=features)


def test_a_whole_twin_has_scales_that_nest(twin):
    found = report(twin, twin / "features")
    assert not found.errors
    assert not {"scales_of_other_tissue", "unmatched_tiles", "parents_without_tiles"} & {f.code for f in found.findings}


def test_slides_without_features_and_scales_that_do_not_cover_the_same_tissue_are_found(twin, tmp_path):
    store = shutil.copytree(twin / "features" / "tiny", tmp_path / "tiny")
    reader = open_features(store)
    gone, moved = sorted(reader.slides)[:2]
    features, coords = {}, {}
    for m in reader.magnifications:
        features[m], where = reader.read(moved, m)
        coords[m] = where + (1_000_000 if m == 20 else 0)
    (store / f"{gone}.h5").unlink()
    write_slide(store, moved, features, coords, backbone="tiny", patch_px=256, mpp=0.25, synthetic=True)
    codes = {finding.code: finding for finding in report(twin, store).findings}
    assert gone in str(codes["slides_without_features"].examples)
    assert codes["scales_of_other_tissue"].severity == "error"
    assert moved in str(codes["scales_of_other_tissue"].examples)
