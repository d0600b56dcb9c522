"""The data folder: one convention that finds the labels, folds and features of a cohort.

    DATA/<cohort>/labels.csv  or .csv.zip, .tsv, .xlsx, …  or DATA/tcga_<cohort>_all_clean.csv[.zip]
    DATA/<cohort>/splits/splits_0.csv ...  (optional)       or DATA/splits/tcga_<cohort>/
    DATA/<cohort>/features/<backbone>/...                   or any folder given by hand

The names on the right are those of the public repositories, so that a checkout of one can be used as it is; those of
MCAT, PORPOISE and SurvPath keep tables in dataset_csv/ or datasets_csv/ and folds in splits/5foldcv/. A
simulated cohort is itself a cohort's folder: labels.csv and features/ in one place.
"""

from pathlib import Path

from ..errors import DataError

LABEL_ENDINGS = (".csv", ".csv.zip", ".csv.gz", ".tsv", ".txt", ".xlsx", ".parquet")


def find_labels(data: Path, cohort: str) -> Path:
    """The label table of `cohort`."""
    homes, public = _homes(data, cohort), f"tcga_{cohort}_all_clean"
    looked = [home / f"labels{end}" for home in homes for end in LABEL_ENDINGS]
    repositories = (data, data / "dataset_csv", data / "datasets_csv")
    looked += [home / f"{public}{end}" for home in (*homes, *repositories) for end in (".csv", ".csv.zip")]
    looked.append(data / "datasets_csv" / "metadata" / f"tcga_{cohort}.csv")
    found = next((path for path in looked if path.is_file()), None)
    if found is None:
        tried = ", ".join(str(path.relative_to(data)) for path in looked)
        raise DataError(f"{data} holds no labels of {cohort}. Looked for {tried}. Put one there or give --labels.")
    return found


def find_splits(data: Path, cohort: str) -> Path | None:
    """The folder of the folds of `cohort`, or None."""
    looked = [home / "splits" for home in _homes(data, cohort)] + [
        data / "splits" / f"tcga_{cohort}",
        data / "splits" / "5foldcv" / f"tcga_{cohort}",
    ]
    return next((path for path in looked if path.is_dir() and any(path.glob("splits_*.csv"))), None)


def find_features(data: Path, cohort: str) -> Path | None:
    """The folder that holds features of `cohort` by backbone, or None."""
    return next((p for home in _homes(data, cohort) if (p := home / "features").is_dir()), None)


def _homes(data: Path, cohort: str) -> tuple[Path, ...]:
    return (data / cohort, data / f"tcga_{cohort}")
