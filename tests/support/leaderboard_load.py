"""A board as busy as the published one: planted cohorts with seeds, real cohorts of baselines, imported models.

`python tests/support/leaderboard_load.py FOLDER` writes its results, for looking at the page and for measuring it.
"""

import hashlib
import json
import sys
from pathlib import Path

import leaderboard_rows as make

MULTI = ("crossfusion", "crossfusion-concat", "abmil-concat", "abmil-late")
SINGLE = ("abmil", "crossfusion-single")
FINE = ("transmil", "dsmil", "meanpool", "maxpool")
LINES = [
    *((model, "5,10,20", "multi-scale") for model in MULTI),
    *((model, scale, "single-scale") for model in SINGLE for scale in ("5", "10", "20")),
    *((model, "20", "single-scale") for model in FINE),
]
SEEN_BY = {  # which lines see the hazard
    "planted-fine": lambda model, scales: "20" in scales.split(","),
    "planted-coarse": lambda model, scales: "5" in scales.split(","),
    "planted-cross": lambda model, scales: model == "crossfusion",
    "planted-site": lambda model, scales: False,
    "planted-null": lambda model, scales: False,
}
REAL = (("blca", 373, 169), ("brca", 956, 130), ("coadread", 339, 80), ("gbmlgg", 569, 187), ("luad", 444, 157))
BASELINES = (("clinical-cox", 0.10), ("age-only", 0.11), ("site-only", 0.07), ("bag-size", 0.02), ("random", 0.0))
IMPORTED = (("MCAT", 0.11), ("PORPOISE", 0.09), ("SurvPath", 0.14), ("PANTHER", 0.13))


def planted(folder, patients=400, seeds=(0, 1, 2)):
    """Five planted cohorts, 14 lines each, with predictions."""
    for number, (cohort, sees) in enumerate(SEEN_BY.items()):
        for model, scales, family in LINES:
            skill = 0.16 if sees(model, scales) else 0.02
            settings = {"dropout": 0.25, "embed_dim": 128} | ({} if "," in scales else {"scale": int(scales)})
            for seed in seeds:
                rows = make.experiment(
                    skill, model=model, scales=scales, family=family, cohort=cohort, synthetic=True, seed=seed,
                    backbone="planted-64", patients=patients, events=patients * 2 // 5, n_test=patients // 5,
                    events_test=patients * 2 // 25, labels_fingerprint=f"{number}f1b2c3d4e5",
                    folds_fingerprint=f"{number}a9b8c7d6e5", oracle_c_index=0.742,
                    hyperparameters=json.dumps(settings),
                    command=f"bench run --model {model} --cohort {cohort} --seed {seed}",
                )  # fmt: skip
                noise = int(hashlib.sha256(f"{model}{scales}{seed}".encode()).hexdigest()[:6], 16)
                table = make.predictions(rows, patients, 5 * skill, number, noise)
                make.write(folder, make.agreeing(rows, table), table)


def real(folder):
    """Baselines of real cohorts on two kinds of folds, without predictions; four imported models on three of them."""
    absent = ("scales", "backbone", "loss", "recipe", "features_fingerprint", "parameters", "seconds", "command")
    absent += tuple(f"{name}_{kind}" for name in ("c_index", "epoch") for kind in ("last", "best"))
    for number, (cohort, patients, events) in enumerate(REAL):
        for kind in ("official", "site-preserving"):
            shared = dict.fromkeys(absent) | {
                "cohort": cohort, "patients": patients, "events": events, "n_test": patients // 5,
                "events_test": events // 5, "labels_fingerprint": f"{number}b1c2d3e4f5", "folds_name": kind,
                "folds_fingerprint": f"{number}{kind}",
            }  # fmt: skip
            for model, skill in BASELINES:
                rows = make.experiment(skill, model=model, family="control", **shared)
                make.write(folder, [row | shared for row in rows])
            for model, skill in IMPORTED if number < 3 and kind == "official" else ():
                rows = make.experiment(skill, model=model, family="imported", **shared)
                table = make.predictions(rows, patients, 4 * skill, number, len(model)).assign(risk_group="")
                rows = [
                    row | shared | {"c_index_selected": row["c_index_selected"]} for row in make.agreeing(rows, table)
                ]
                make.write(folder, rows, table[table["reading"] == "selected"])


if __name__ == "__main__":
    planted(Path(sys.argv[1]))
    real(Path(sys.argv[1]))
