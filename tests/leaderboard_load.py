"""A board as busy as the published one: planted cohorts with seeds, real cohorts of controls, imported models.

`python tests/leaderboard_load.py FOLDER` writes it, for looking at the page and for measuring it.
"""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("leaderboard_rows", Path(__file__).with_name("leaderboard_rows.py"))
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

SINGLE = ("abmil", "crossfusion-single", "transmil", "dsmil", "meanpool", "maxpool")
MULTI = ("crossfusion", "crossfusion-concat", "abmil-concat", "abmil-late")
PLANTED = {"planted-fine": 20, "planted-coarse": 5, "planted-cross": 0, "planted-site": 1, "planted-null": None}
CONTROLS = (("clinical-cox", 0.10), ("clinical-cox-sex", 0.11), ("site-only", 0.07), ("bag-size", 0.02), ("random", 0.0))
REAL = {"blca": (373, 169), "brca": (956, 130), "coadread": (339, 80), "gbmlgg": (569, 187), "luad": (444, 157), "ucec": (480, 75)}  # fmt: skip
IMPORTED = (("MCAT", 0.11), ("PORPOISE", 0.09), ("SurvPath", 0.14), ("PANTHER", 0.13))


def planted(folder, patients=400, seeds=(0, 1, 2)):
    """Five planted cohorts, 16 lines each, three seeds, five folds, with predictions."""
    for number, (cohort, scale) in enumerate(PLANTED.items()):
        lines = [(model, "5,10,20", "multi-scale") for model in MULTI]
        lines += [(model, str(at), "single-scale") for model in SINGLE[:2] for at in (5, 10, 20)]
        lines += [(model, "20", "single-scale") for model in SINGLE[2:]]
        for model, scales, family in lines:
            sees = scale is not None and (scale == 0 and model == "crossfusion" or str(scale) in scales.split(","))
            skill = 0.0 if scale is None else 0.16 if sees else 0.03
            for seed in seeds:
                rows = make.experiment(
                    skill, model=model, scales=scales, family=family, cohort=cohort, synthetic=True, seed=seed,
                    backbone="planted-64", patients=patients, events=patients * 2 // 5, n_test=patients // 5,
                    events_test=patients * 2 // 25, labels_fingerprint=f"{number}f1b2c3d4e5",
                    folds_fingerprint=f"{number}a9b8c7d6e5", oracle_c_index=0.742 if scale is not None else 0.5,
                    hyperparameters=json.dumps({"dropout": 0.25, "embed_dim": 128} | ({"scale": int(scales)} if "," not in scales else {})),
                    command=f"bench run --model {model} --cohort {cohort} --seed {seed}",
                )  # fmt: skip
                noise = int(hashlib.sha256(f"{model}{scales}{seed}".encode()).hexdigest()[:6], 16)
                table = make.predictions(rows, patients, 5 * skill, number, noise)
                make.write(folder, make.agreeing(rows, table), table)


def real(folder):
    """Controls of six real cohorts on two kinds of folds, without predictions; four imported models on three."""
    for number, (cohort, (patients, events)) in enumerate(REAL.items()):
        shared = dict(cohort=cohort, patients=patients, events=events, n_test=patients // 5, events_test=events // 5)
        nothing = dict.fromkeys(["scales", "backbone", "loss", "recipe", "features_fingerprint", "parameters", "seconds"])
        for kind in ("official", "site-preserving"):
            prints = dict(labels_fingerprint=f"{number}b1c2d3e4f5", folds_fingerprint=f"{number}{kind}", folds_name=kind)
            for model, skill in CONTROLS:
                rows = make.experiment(skill, model=model, family="control", command=f"bench control --control {model} --cohort {cohort}", **shared, **prints, **nothing)  # fmt: skip
                none = {f"c_index_{kind}": None for kind in ("last", "best")} | {f"epoch_{kind}": None for kind in make.READINGS}
                make.write(folder, [row | none for row in rows])
            if number < 3 and kind == "official":
                for model, skill in IMPORTED:
                    rows = make.experiment(skill, model=model, family="imported", command=None, **shared, **prints, **nothing)
                    table = make.predictions(rows, patients, 4 * skill, number, len(model)).assign(risk_group="")
                    table = table[table["reading"] == "selected"]
                    make.write(folder, [row | none for row in make.agreeing(rows, make.predictions(rows, patients, 4 * skill, number, len(model)))], table)


def many(folder, lines=2000):
    """One cohort with very many lines, without predictions."""
    for number in range(lines):
        rows = make.experiment(0.1 + number % 97 / 1000, model=f"model-{number}", n_folds=3, backbone=("uni", "uni2-h", "conch")[number % 3])  # fmt: skip
        make.write(folder, rows)


if __name__ == "__main__":
    planted(Path(sys.argv[1]))
    real(Path(sys.argv[1]))
