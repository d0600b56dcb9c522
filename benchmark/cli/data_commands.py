"""What `bench data` does, from names and paths as they are typed."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ...datasets import cohorts
from ...datasets.check.check import Report, lint
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
    cohort: str, labels: Path | None, splits: Path | None, features: Path | None, backbone: str | None,
    manifest: Path | None, data: Path, endpoint: str, columns: str | None, told: Mapping[str, object] | None = None,
) -> Report:  # fmt: skip
    """The linter's report on what is given, and on what the data folder holds of the rest.

    Errors: `UsageError` for paths that do not exist, and the registry's for an unknown cohort.
    """
    chosen = cohorts.get(cohort)
    for option, path in (("labels", labels), ("splits", splits), ("features", features), ("manifest", manifest)):
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    table = _table(labels, data, chosen)
    # Folds and features found beside other labels than those given would be the wrong ones.
    look = data if labels is None else None
    return lint(
        chosen, table, splits or (look and find_splits(look, chosen.name)),
        features or (look and find_features(look, chosen.name)), manifest, backbone, endpoint, _columns(columns),
        told=told,
    )  # fmt: skip


def make_folds(
    cohort: str, out: Path, kind: str, k: int, repeats: int, seed: int, labels: Path | None, data: Path, endpoint: str,
    columns: str | None,
) -> tuple[Folds, Path]:  # fmt: skip
    """Divide a cohort and save the folds. Errors: `UsageError` for an unknown kind, `DataError` for the data."""
    check_choice("kind of folds", kind, KINDS)
    chosen = cohorts.get(cohort)
    read = read_labels(_table(labels, data, chosen), chosen, endpoint=endpoint, columns=_columns(columns))
    folds = KINDS[kind](read, k, seed, repeats)
    return folds, save_folds(folds, read, out)


def fetch_data(cohort: str, out: Path, api: str, refresh: bool, count: Callable[[int, int], None]) -> Fetched:
    """Fetch a cohort from the GDC. Errors: the registry's for an unknown cohort, `DataError` for everything else."""
    chosen = cohorts.get(cohort)
    if not chosen.projects:
        raise UsageError(f"{chosen.name} is drawn, not observed: `bench data render --cohort {chosen.name}` makes it")
    return fetch(chosen, out, Api(api), refresh, lambda what, done, total: count(done, total))


def fold_rows(report: Report) -> list[dict[str, object]]:
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


def _table(labels: Path | None, data: Path, cohort: Cohort) -> Path:
    if labels is not None:
        return labels
    if not data.is_dir():
        raise UsageError(f"no data for {cohort.name}: there is no folder {data}/. Give --labels FILE or --data FOLDER")
    return find_labels(data, cohort.name)


def _columns(text: str | None) -> Mapping[str, str] | None:
    return parse_columns(text) if text else None
