"""The files of a made-up hospital, as such files are: a table of Excel, features of two jobs, folds made elsewhere."""

import csv
from itertools import zip_longest
from pathlib import Path

import numpy as np
from feature_writers import trident_file


def write_hospital(folder: Path, n: int = 30, dim: int = 16) -> dict[str, tuple[float, bool]]:
    """Write hosp.csv, job_20x/, job_coarse/ and folds/; gives years and death by patient."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    truth, rows = {}, []
    for i in range(n):
        patient, risk = f"HOSP-{i + 1:04}", rng.normal()
        years, died = round(min(float(rng.exponential(3 * np.exp(-risk))) + 0.1, 15.0), 3), i % 5 > 1
        truth[patient] = years, died
        words = f"{years:.3f}".replace(".", ","), "dead" if died else "alive", str(40 + i)
        sex, centre = ("weiblich", "männlich")[i % 2], ("Nord", "Süd")[i % 2]
        rows.append([patient, f"{patient}_HE.ndpi", *words, sex, centre])
        for m, patches in ((20, 16), (10, 4), (5, 1)):
            job = folder / ("job_20x" if m == 20 else "job_coarse")
            file = job / f"{m}x_256px_0px_overlap" / "features_myenc" / f"{patient}_HE.h5"
            side = round(patches**0.5)
            step = 256 * 40 // m
            corners = np.array([(x * step, y * step) for x in range(side) for y in range(side)], np.int64)
            features = rng.normal(size=(patches, dim)) + risk
            trident_file(file, features.astype(np.float32), corners, m, "myenc")
    with (folder / "hosp.csv").open("w", encoding="cp1252", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Patient", "Präparat", "OS (Jahre)", "Status", "Alter", "Geschlecht", "Zentrum"])
        writer.writerows(rows)
    (folder / "folds").mkdir()
    ids = sorted(truth)
    for k in range(3):
        test = ids[k::3]
        train = [i for i in ids if i not in test]
        lines = [f"{a},{b}" for a, b in zip_longest(train, test, fillvalue="")]
        (folder / "folds" / f"fold_{k}.csv").write_text("\n".join(["train,test", *lines]) + "\n")
    return truth
