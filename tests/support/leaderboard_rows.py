"""Rows and predictions that look like real ones, for the tests of the leaderboard and for looking at its page."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from milsurv.leaderboards import publish
from milsurv.leaderboards.ranking import board
from milsurv.leaderboards.ranking.comparisons import with_evidence
from milsurv.leaderboards.result_row import ResultRow, parse_row
from milsurv.survival.concordance import c_index

READINGS = ("selected", "last", "best")
METRICS = (
    "uno_c", "auc_12", "auc_36", "auc_60", "ibs", "ici_12", "ici_36", "ici_60", "d_calibration_p", "logrank_p",
)  # fmt: skip


def parsed(rows):
    """The rows of plain objects; rows stay as they are."""
    return [one if isinstance(one, ResultRow) else parse_row(one) for one in rows]


def boards(rows):
    """The boards of plain objects, or rows."""
    return board.boards(parsed(rows))


def render(rows, predictions, folder, problems=()):
    """The pages of rows and their predictions, by experiment, written into `folder`."""
    found = publish.Gathered(with_evidence(boards(rows), predictions), predictions, tuple(problems))
    return publish.write(found, folder)


def row(fold=0, **changes):
    """One sound row of a finished fold, as the object of its JSON; `changes` overwrite its keys."""
    result = {
        "schema": 1, "status": "finished", "error": None, "experiment": "0123456789", "model": "abmil",
        "family": "single-scale", "scales": "20", "cohort": "blca", "synthetic": False, "backbone": "uni2-h",
        "loss": "nll", "recipe": "default", "slides": "concat", "folds_name": "official", "n_folds": 5, "fold": fold,
        "seed": 0, "hyperparameters": json.dumps({"embed_dim": 128, "dropout": 0.25, "scale": 20}),
        "n_train": 238, "n_val": 60, "n_test": 75, "events_train": 108, "events_val": 27, "events_test": 34,
        "patients": 373, "events": 169, "parameters": 263_426, "seconds": 41.5 + fold, "epochs": 20,
        "epoch_selected": 7, "epoch_last": 19, "epoch_best": 11,
        "c_index_selected": 0.60 + 0.01 * fold, "c_index_last": 0.59 + 0.01 * fold, "c_index_best": 0.64 + 0.01 * fold,
        **{f"{metric}_{reading}": 0.58 for metric in METRICS for reading in READINGS},
        **{f"ibs_{reading}": 0.19 for reading in READINGS},
        **{f"ici_{months}_{reading}": 0.06 for months in (12, 36, 60) for reading in READINGS},
        "ibs_km": 0.21, "oracle_c_index": None,
        "labels_fingerprint": "labels-1f3a9c", "folds_fingerprint": "folds-77be02",
        "features_fingerprint": "features-a90d",
        "code_version": "0.1.0", "torch_version": "2.8.0", "device": "cpu", "hardware": "2 cores, 24 GiB",
        "created": "2026-01-05T10:00:00+00:00",
        "command": "bench run --model abmil --cohort blca --backbone uni2-h --seed 0",
    }  # fmt: skip
    return result | changes


def experiment(skill=0.1, optimism=0.04, n_folds=5, missing=(), **changes):
    """The rows of one experiment whose numbers are drawn around 0.5 + skill; equal arguments give equal rows."""
    digest = hashlib.sha256(json.dumps([skill, changes], sort_keys=True).encode()).hexdigest()
    changes.setdefault("experiment", digest[:10])
    noise = np.random.default_rng(int(digest, 16))
    folds = np.random.default_rng(7).normal(0, 0.025, n_folds)  # folds that are hard are hard for every model
    rows = []
    for fold in range(n_folds):
        if fold in missing:
            continue
        selected = float(np.clip(0.5 + skill + folds[fold] + noise.normal(0, 0.012), 0, 1))
        numbers = {
            "c_index_selected": selected,
            "c_index_last": selected + noise.normal(-0.006, 0.01),
            "c_index_best": selected + abs(noise.normal(optimism, 0.012)),
            "epoch_selected": int(noise.integers(3, 18)),
            "epoch_best": int(noise.integers(3, 18)),
            "seconds": float(noise.uniform(20, 60)),
        }
        for reading in READINGS:
            c = numbers[f"c_index_{reading}"]
            numbers[f"uno_c_{reading}"] = c - 0.01 + noise.normal(0, 0.005)
            for months, bonus in ((12, 0.03), (36, 0.02), (60, 0.0)):
                numbers[f"auc_{months}_{reading}"] = min(0.99, c + bonus + noise.normal(0, 0.01))
            numbers[f"ibs_{reading}"] = 0.225 - 0.3 * (c - 0.5) + noise.normal(0, 0.004)
            numbers[f"logrank_p_{reading}"] = float(10 ** -noise.uniform(0.3, 3))
        numbers["ibs_km"] = 0.222
        rows.append(row(fold, **({"n_folds": n_folds} | numbers | changes)))
    return rows


def predictions(rows, patients=373, hazard=1.0, seed=0, noise=0, follow=45):
    """Out-of-fold predictions for the folds of one experiment: risks that carry some truth, at three readings.

    Equal `seed`s give equal patients; `noise` tells the risks of models and seeds apart; `follow` is the mean time to
    censoring.
    """
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=patients)
    death = draw.exponential(40 * np.exp(-0.8 * truth))
    censored = draw.exponential(follow, patients)
    shared = draw.normal(size=patients)  # what is hard for one model is hard for the others
    draw = np.random.default_rng([seed, noise])
    own = draw.normal(size=patients)
    tables = []
    for reading in READINGS:
        risk = hazard * truth + 0.8 * shared + 0.5 * own + 0.2 * draw.normal(size=patients)
        table = pd.DataFrame(
            {
                "patient": [f"TCGA-{index:04d}" for index in range(patients)],
                "fold": np.arange(patients) % len(rows),
                "reading": reading,
                "time": np.round(np.minimum(death, censored) + 0.1, 2),
                "event": (death <= censored).astype(int),
                "risk": risk,
                "risk_group": np.where(risk > np.median(risk), "high", "low"),
            }
        )
        tables.append(table.assign(survival_0=0.8, survival_1=0.5))
    return pd.concat(tables).sort_values(["fold", "reading", "patient"])


def agreeing(rows, table):
    """The same rows with the C-indices that their predictions give."""
    result = []
    for item in rows:
        mine = table[table["fold"] == item["fold"]]
        parts = {reading: mine[mine["reading"] == reading] for reading in READINGS}
        scores = {
            f"c_index_{reading}": c_index(part["time"], part["event"], part["risk"]) for reading, part in parts.items()
        }
        result.append(item | scores)
    return result


def write(folder: Path, rows, table=None):
    """Lay rows (and predictions) out as an experiment does; returns the experiment's folder."""
    for item in rows:
        place = Path(folder) / "experiments" / item["experiment"] / f"fold-{item['fold']}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "result.json").write_text(json.dumps(item))
    home = Path(folder) / "experiments" / rows[0]["experiment"]
    if table is not None:
        table.to_csv(home / "predictions.csv", index=False)
    return home


def example(folder: Path):
    """A results folder as a busy user has it: two real cohorts, a simulated cohort, seeds, failures, a damaged file."""
    models = [
        ("crossfusion", "5,10,20", "multi-scale", 0.135, 4_213_000),
        ("crossfusion-concat", "5,10,20", "multi-scale", 0.118, 3_050_000),
        ("abmil-concat", "5,10,20", "multi-scale", 0.112, 790_000),
        ("abmil-late", "5,10,20", "multi-scale", 0.108, 790_000),
        ("transmil", "20", "single-scale", 0.096, 2_672_000), ("abmil", "20", "single-scale", 0.104, 263_000),
        ("dsmil", "20", "single-scale", 0.082, 331_000), ("meanpool", "20", "single-scale", 0.089, 131_000),
        ("maxpool", "20", "single-scale", 0.041, 131_000),
    ]  # fmt: skip
    cohorts = [
        ("blca", False, 373, 169, 0.0),
        ("brca", False, 956, 130, 0.01),
        ("brca", True, 956, 130, 0.12),
    ]
    for number, (cohort, synthetic, patients, events, bonus) in enumerate(cohorts):
        for model, scales, family, skill, parameters in models:
            seeds = (0, 1, 2) if model in ("crossfusion", "abmil") else (0,)
            for seed in seeds:
                rows = experiment(
                    skill + bonus, model=model, scales=scales, family=family, parameters=parameters, cohort=cohort,
                    synthetic=synthetic, patients=patients, events=events, seed=seed, n_test=patients // 5,
                    events_test=events // 5, labels_fingerprint=f"{number}f1b2c3d4e5",
                    folds_fingerprint=f"{number}a9b8c7d6e5",
                    oracle_c_index=0.781 if synthetic else None,
                    hyperparameters=json.dumps({"embed_dim": 256, "dropout": 0.25}),
                    command=f"bench run --model {model} --cohort {cohort} --backbone uni2-h --seed {seed}"
                    + " --features synthetic" * synthetic,
                )  # fmt: skip
                noise = int(hashlib.sha256(f"{model}{seed}".encode()).hexdigest()[:6], 16)
                table = predictions(rows, patients, 4 * (skill + bonus), number, noise, follow=12 if number else 45)
                write(folder, agreeing(rows, table), table)
    broken = experiment(0.08, model="transmil", backbone="resnet50", labels_fingerprint="0f1b2c3d4e5", missing=(4,))
    broken[2] |= {"status": "failed", "error": "out of memory at epoch 3 (15,212 patches); lower --tokens"}
    write(folder, broken)
    damaged = Path(folder) / "experiments" / "ffffffffff" / "fold-0"
    damaged.mkdir(parents=True, exist_ok=True)
    (damaged / "result.json").write_text('{"schema": 1, "status": "finished", "c_index_sel')
