"""What `bench data` does, from names and paths as they are typed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ...datasets import cohorts
from ...datasets.check.check import DataReport, lint
from ...datasets.cohorts import Cohort
from ...datasets.folds.read import Folds, site_preserving_folds, stratified_folds
from ...datasets.folds.write import save_folds
from ...datasets.gdc.fetch import Fetched, fetch
from ...datasets.gdc.search import Api
from ...datasets.labels.columns import parse_columns
from ...datasets.labels.read import read_labels
from ...datasets.layout import find_features, find_labels, find_splits
from ...errors import UsageError
from ...names import check_choice

KINDS = {"stratified": stratified_folds, "site-preserving": site_preserving_folds}


def check_data(
    cohort: str, labels_path: Path | None, splits_path: Path | None, features_path: Path | None, backbone: str | None,
    manifest_path: Path | None, data: Path, endpoint: str, columns: str | None,
    user_facts: Mapping[str, object] | None = None,
) -> DataReport:  # fmt: skip
    """The linter's report on what is given, and on what the data folder holds of the rest.

    Errors: `UsageError` for paths that do not exist, and the registry's for an unknown cohort.
    """
    chosen = cohorts.get(cohort)
    paths = {"labels": labels_path, "splits": splits_path, "features": features_path, "manifest": manifest_path}
    for option, path in paths.items():
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    # Folds and features found beside other labels than those given would be the wrong ones.
    look = data if labels_path is None else None
    return lint(
        chosen, _labels_path(labels_path, data, chosen), splits_path or (look and find_splits(look, chosen.name)),
        features_path or (look and find_features(look, chosen.name)), manifest_path, backbone, endpoint,
        _columns(columns), user_facts=user_facts,
    )  # fmt: skip


def make_folds(
    cohort: str, out: Path, kind: str, k: int, repeats: int, seed: int, labels_path: Path | None, data: Path,
    endpoint: str, columns: str | None,
) -> tuple[Folds, Path]:  # fmt: skip
    """Divide a cohort and save the folds. Errors: `UsageError` for an unknown kind, `DataError` for the data."""
    check_choice("kind of folds", kind, KINDS)
    chosen = cohorts.get(cohort)
    labels = read_labels(_labels_path(labels_path, data, chosen), chosen, endpoint=endpoint, columns=_columns(columns))
    folds = KINDS[kind](labels, k, seed, repeats)
    return folds, save_folds(folds, labels, out)


def fetch_data(cohort: str, out: Path, api: str, refresh: bool, count: Callable[[int, int], None]) -> Fetched:
    """Fetch a cohort from the GDC. Errors: the registry's for an unknown cohort, `DataError` for everything else."""
    chosen = cohorts.get(cohort)
    if not chosen.projects:
        raise UsageError(
            f"{chosen.name} is simulated, not observed: `bench data render --cohort {chosen.name}` makes it"
        )
    return fetch(chosen, out, Api(api), refresh, lambda what, done, total: count(done, total))


def fold_rows(report: DataReport) -> list[dict[str, object]]:
    """The folds of a report as rows of a table; the half-width is that of a 95 % interval of chance."""
    return [
        {
            "fold": fold.fold, "train": fold.train, "test": fold.test, "deaths in test": fold.events,
            "comparable pairs": fold.comparable_pairs,
            "C-index by chance": _around(fold.chance_sd),
        }
        for fold in report.folds
    ]  # fmt: skip


def _around(sd: float | None) -> str:
    return "none" if sd is None else f"0.5 \N{PLUS-MINUS SIGN} {1.96 * sd:.3f}"


def _labels_path(given: Path | None, data: Path, cohort: Cohort) -> Path:
    if given is not None:
        return given
    if not data.is_dir():
        raise UsageError(f"no data for {cohort.name}: there is no folder {data}/. Give --labels FILE or --data FOLDER")
    return find_labels(data, cohort.name)


def _columns(text: str | None) -> Mapping[str, str] | None:
    return parse_columns(text) if text else None
