"""What `bench data` does, from names and paths as they are typed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...datasets import cohorts
from ...datasets.check.check import DataReport, lint
from ...datasets.folds.read import Folds, site_preserving_folds, stratified_folds
from ...datasets.folds.write import save_folds
from ...datasets.gdc.fetch import Fetched, fetch
from ...datasets.gdc.search import Api
from ...datasets.labels.read import read_labels
from ...datasets.layout import find_features, find_labels, find_splits
from ...datasets.own_cohorts.find import Found, find_cohort, unknown_cohort
from ...datasets.own_cohorts.label_options import label_options
from ...datasets.own_cohorts.look import Ask, Looked, init
from ...datasets.own_cohorts.typed_options import TypedOptions
from ...errors import UnknownName, UsageError
from ...names import check_choice

KINDS = {"stratified": stratified_folds, "site-preserving": site_preserving_folds}


def check_data(
    cohort: str, labels_path: Path | None, splits_path: Path | None, features: Sequence[Path], backbone: str | None,
    manifest_path: Path | None, data: Path, words: TypedOptions, user_facts: Mapping[str, object] | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> DataReport:  # fmt: skip
    """The linter's report on what is given, and on what the data folder or the cohort.toml holds of the rest.

    `reading` is called with (done, total) while all numbers of the features are read; None: headers alone.
    Errors: `UsageError` for paths that do not exist.
    """
    found = find_cohort(cohort)
    file, chosen = found.file, found.cohort
    paths = {"labels": labels_path, "splits": splits_path, "manifest": manifest_path, "slide-table": words.slide_table}
    for option, path in (*paths.items(), *(("features", place) for place in features)):
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    facts = {key: value for key, value in (user_facts or {}).items() if value is not None}
    # Folds and features found beside other labels than those given would be the wrong ones.
    if file is not None and labels_path is None:
        splits_path = splits_path or file.path(file.folds)
        if not features:
            backbone = backbone or file.backbone
            of_file = {"magnification": file.magnification, "patch_px": file.patch_px, "coords": file.path(file.coords)}
            facts = {key: value for key, value in of_file.items() if value is not None} | facts
        features = features or file.feature_folders
    elif file is None and labels_path is None:
        splits_path = splits_path or find_splits(data, chosen.name)
        beside = find_features(data, chosen.name)
        features = features or ((beside,) if beside else ())
    return lint(
        chosen, _labels_path(labels_path, data, found), splits_path, features, manifest_path, backbone,
        label_options(words, file), user_facts=facts, reading=reading,
    )  # fmt: skip


def init_cohort(
    folder: Path, labels: Path, words: TypedOptions, ask: Ask, *, title: str, name: str, folds: Path | None,
    features: Sequence[Path], centre: str | None, overwrite: bool,
) -> Looked:  # fmt: skip
    """Write a cohort.toml. Errors: `UsageError` for paths that do not exist, `DataError` for the table."""
    for option, path in (("labels", labels), ("splits", folds), *(("features", one) for one in features)):
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path}: there is no such file or folder")
    return init(
        folder, labels, label_options(words), ask, title=title, name=name, folds=folds, features=features,
        centre=centre, overwrite=overwrite,
    )  # fmt: skip


def make_folds(
    cohort: str, out: Path, kind: str, k: int, repeats: int, seed: int, labels_path: Path | None, data: Path,
    words: TypedOptions,
) -> tuple[Folds, Path]:  # fmt: skip
    """Divide a cohort and save the folds. Errors: `UsageError` for an unknown kind, `DataError` for the data."""
    check_choice("kind of folds", kind, KINDS)
    found = find_cohort(cohort)
    labels = read_labels(_labels_path(labels_path, data, found), found.cohort, label_options(words, found.file))
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


def _labels_path(given: Path | None, data: Path, found: Found) -> Path:
    if given is not None:
        return given
    if found.file is not None:
        return found.file.path(found.file.labels) or Path(found.file.labels)
    name = found.cohort.name
    if not found.registered and not (data / name).is_dir():
        raise UnknownName(unknown_cohort(name))
    if not data.is_dir():
        raise UsageError(f"no data for {name}: there is no folder {data}/. Give --labels FILE or --data FOLDER")
    return find_labels(data, name)
