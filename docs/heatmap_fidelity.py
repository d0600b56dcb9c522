"""Do heatmaps show what moves the risk? Attributions of every model against the planted pattern, into docs/heatmaps.md.

    python docs/heatmap_fidelity.py --out results                         # all models, three seeds: hours
    python docs/heatmap_fidelity.py --out small --models meanpool,abmil --seeds 0 --patients 120
    python docs/heatmap_fidelity.py --out small --page                    # writes the tables into the page

The experiments are those of `bench ablate --grid planted --seeds 0,1,2`: what is finished in the folder is not trained
again, and a model of one scale reads the one that shows the pattern. Slides of the test folds are explained by the
model that had not seen them. AUC and average precision ask whether patches with the pattern get higher values than
those without, slide by slide; both are means over slides, with an interval from a bootstrap of the patients of all
seeds. Deletion is how much more the risk falls, in standard deviations of the risks of all slides, when the patches
that the map ranks highest become the mean patch, than when as many random ones do; insertion likewise, with these
patches alone.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from milsurv import run
from milsurv.benchmark.inference.ensemble import load_ensemble, out_of_fold
from milsurv.benchmark.inference.heatmap.integrated import integrated_gradients
from milsurv.benchmark.inference.heatmap.maps import METHODS, regions_of, scorer_of
from milsurv.benchmark.inference.predict import open_source
from milsurv.datasets.features.cells import patch_sides
from milsurv.datasets.patient import patient_of
from milsurv.datasets.simulated.cohort import planted_patches
from milsurv.files import write_whole
from milsurv.models.attribution.attention import attention_maps
from milsurv.models.attribution.curves import deletion, insertion
from milsurv.models.attribution.gradients import gradient_times_input
from milsurv.models.attribution.occlusion import occlusion
from milsurv.models.registry import MODELS
from sklearn.metrics import average_precision_score, roc_auc_score

COHORTS = {"planted-fine": 20, "planted-coarse": 5}
"""The magnification at which each shows its pattern."""
NONE = "\N{EN DASH}"
SLIDES = 20  # slides that are explained, of each fold
PAGE = Path(__file__).parent / "heatmaps.md"
START, END = "<!-- fidelity -->", "<!-- /fidelity -->"


def maps_of(scorer, groups):
    """(method, magnification) to values; of several attention maps at a scale, their mean."""
    found = {}
    attention = defaultdict(list)
    for one in attention_maps(scorer):
        attention[one.magnification].append(one.weights)
    found.update({("attention", m): torch.stack(parts).mean(0) for m, parts in attention.items()})
    for method, values in (
        ("occlusion", occlusion(scorer, groups)),
        ("gradient", gradient_times_input(scorer)),
        ("integrated", integrated_gradients(scorer, 8)),
    ):
        found.update({(method, m): x for m, x in values.items()})
    return found


def explain(model, cohort, seed, out, patients, folds, slides, epochs):
    """One row a slide, method and scale."""
    settings: dict[str, object] = {} if epochs is None else {"epochs": epochs}
    if MODELS[model].family == "single-scale":
        settings["scale"] = COHORTS[cohort]
    results = run(
        model, cohort, out=out, patients=patients, folds=folds, seeds=(seed,), settings=settings, progress=False
    )
    folder = next(iter(results.folders.values()))
    place = next(
        path.parent
        for path in Path(out).rglob("truth.json")
        if re.fullmatch(rf"{cohort}-.*-{patients}", path.parent.name)
    )
    truth, tested = planted_patches(place), out_of_fold(folder).folds
    rng, rows = np.random.default_rng(seed), []
    for fold in range(folds):
        ensemble = load_ensemble(folder, [fold])
        mine = sorted(name for name in truth if tested.get(patient_of(name)) == (fold,))[:slides]
        for name in mine:
            source, _, _ = open_source(ensemble, place / "features", slides=[name], places=True)
            unit = source.units.labels.patients[0].id
            bag, scorer = source.bags[unit], scorer_of(ensemble.models[0], source, unit)
            geometry = {m: facts.geometry for m, facts in source.reader.facts(name).items()}
            sides = patch_sides(bag.coords, geometry)
            groups = {m: torch.from_numpy(regions_of(bag.coords[m], sides[m], 10**6)) for m in scorer.features}
            base = scorer.base()
            for (method, m), values in maps_of(scorer, groups).items():
                row = {"model": model, "cohort": cohort, "seed": seed, "patient": patient_of(name), "method": method,
                       "magnification": m, "risk": base}  # fmt: skip
                random = torch.from_numpy(rng.permutation(len(values)).astype(np.float32))
                row["deletion"] = float((deletion(scorer, m, random) - deletion(scorer, m, values)).mean())
                row["insertion"] = float((insertion(scorer, m, values) - insertion(scorer, m, random)).mean())
                if m == COHORTS[cohort]:
                    holds = truth[name][m] > 0
                    if holds.any() and not holds.all():
                        row["auc"] = float(roc_auc_score(holds, values))
                        row["ap"] = float(average_precision_score(holds, values))
                        row["share"] = float(holds.mean())
                rows.append(row)
    c_index = float(results["c_index_selected"].mean())
    return rows, c_index


def mean_interval(rows, key, resamples=1000):
    """Mean over slides and its 95 % interval: patients are drawn with all of their slides, of all seeds."""
    by_patient = defaultdict(list)
    for row in rows:
        if key in row:
            by_patient[row["patient"]].append(row[key])
    if not by_patient:
        return None
    sums = np.array([(sum(values), len(values)) for values in by_patient.values()])
    drawn = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(1)
    low, high = np.quantile(means[:, 0] / means[:, 1], (0.025, 0.975))
    return float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)


def cell(found):
    """`0.91 [0.88, 0.93]`."""
    return NONE if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"


def tables(found):
    """A table a cohort."""
    text = []
    for cohort, scale in COHORTS.items():
        runs = [one for one in found if one["cohort"] == cohort]
        if not runs:
            continue
        seeds = len({one["seed"] for one in runs})
        text.append(
            f"### {cohort}: the pattern is at {scale}x\n\nSeeds: {seeds}. Patients a cohort: {runs[0]['patients']}.\n\n"
            "| model | C-index | method | AUC | average precision (share) | deletion | insertion |\n"
            "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
        )
        for model in dict.fromkeys(one["model"] for one in runs):
            mine = [one for one in runs if one["model"] == model]
            rows = [row for one in mine for row in one["rows"] if row["magnification"] == scale]
            c_index = np.mean([one["c_index"] for one in mine])
            if not rows:
                text.append(f"| {model} | {c_index:.3f} | does not read {scale}x | {NONE} | {NONE} | {NONE} | {NONE} |")
            spread = max(float(np.std([row["risk"] for row in rows])), 1e-9) if rows else 1.0
            for method in METHODS:
                those = [row for row in rows if row["method"] == method]
                scaled = [
                    {**row, "deletion": row["deletion"] / spread, "insertion": row["insertion"] / spread}
                    for row in those
                ]
                if not those:
                    continue
                share = np.mean([row["share"] for row in those if "share" in row])
                text.append(
                    f"| {model} | {c_index:.3f} | {method} | {cell(mean_interval(those, 'auc'))} | "
                    f"{cell(mean_interval(those, 'ap'))} ({share:.2f}) | {cell(mean_interval(scaled, 'deletion'))} | "
                    f"{cell(mean_interval(scaled, 'insertion'))} |"
                )
        text.append("")
    return "\n".join(text)


def main():
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--cohorts", default=",".join(COHORTS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--slides", type=int, default=SLIDES)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--page", action="store_true", help="Write the tables of what is in --out into docs/heatmaps.md."
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.page:
        for seed in map(int, given.seeds.split(",")):
            for cohort in given.cohorts.split(","):
                for model in given.models.split(","):
                    file = given.out / f"fidelity-{model}-{cohort}-{seed}.json"
                    if file.exists():
                        continue
                    rows, c_index = explain(
                        model, cohort, seed, given.out, given.patients, given.folds, given.slides, given.epochs
                    )
                    whole = {"model": model, "cohort": cohort, "seed": seed, "c_index": c_index,
                             "patients": given.patients, "rows": rows}  # fmt: skip
                    write_whole(file, json.dumps(whole))
                    print(file.name, flush=True)
    found = [json.loads(path.read_text()) for path in sorted(given.out.glob("fidelity-*.json"))]
    text = tables(found)
    print(text)
    if given.page:
        page = PAGE.read_text(encoding="utf-8")
        page = re.sub(f"{START}.*{END}", lambda _: f"{START}\n{text}{END}", page, flags=re.DOTALL)
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
