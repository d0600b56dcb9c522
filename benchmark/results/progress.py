"""How far the experiments of a results folder are, told by its files: finished, failed, being computed, waiting."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import RowError
from ...leaderboards.result_row import ResultRow
from ...leaderboards.rows import read_row
from .lease import Held, all_held


@dataclass(frozen=True)
class Running:
    """A fold that is being computed: by whom, since when (ISO 8601, UTC), and whether that process is known dead."""

    fold: int
    host: str
    pid: int
    since: str
    job: str
    dead: bool


@dataclass(frozen=True)
class Progress:
    """One experiment.

    folds: how many there are; None as long as no fold has a result.
    finished: how many have one; failed: their numbers; running: those that have a holder.
    """

    experiment: str
    model: str
    cohort: str
    seed: int
    folds: int | None
    finished: int
    failed: tuple[int, ...]
    running: tuple[Running, ...]

    @property
    def waiting(self) -> int | None:
        """Folds that are neither over nor being computed; None where it is not known how many there are."""
        if self.folds is None:
            return None
        return max(0, self.folds - self.finished - len(self.failed) - len(self.running))

    def as_json(self) -> dict[str, object]:
        """All of it as plain values."""
        return {**asdict(self), "waiting": self.waiting}


def progress_of(out: Path) -> list[Progress]:
    """Every experiment of the results folder `out`. Errors: `RowError` where it is none."""
    folder = out / "experiments"
    if not folder.is_dir():
        raise RowError(f"{out}: there are no experiments in it; give the folder that `bench run --out` writes")
    return [_progress(place) for place in sorted(folder.iterdir()) if (place / "experiment.json").is_file()]


def _progress(place: Path) -> Progress:
    rows: dict[int, ResultRow] = {}
    for path in sorted(place.glob("fold-*/result.json")):
        try:
            row = read_row(path)
        except RowError:
            continue  # damaged: it counts as not computed, as it does when the command goes on
        rows[row.fold] = row
    held = all_held(place)
    running = [_running(fold, lease) for fold, lease in sorted(held.items())]
    known = _described(place)
    any_row = next(iter(rows.values()), None)
    return Progress(
        experiment=place.name,
        model=str(known.get("model", "")),
        cohort=str(known.get("cohort", "")),
        seed=int(str(known.get("seed", 0))),
        folds=any_row.n_folds if any_row is not None else _folds(known),
        finished=sum(row.finished and fold not in held for fold, row in rows.items()),
        failed=tuple(fold for fold, row in sorted(rows.items()) if not row.finished and fold not in held),
        running=tuple(running),
    )


def _running(fold: int, lease: Held) -> Running:
    holder = lease.holder
    if holder is None:
        return Running(fold, "", 0, "", "", dead=False)
    return Running(fold, holder.host, holder.pid, holder.since, holder.job, holder.dead)


def _described(place: Path) -> Mapping[str, object]:
    import msgspec

    try:
        return msgspec.json.decode((place / "experiment.json").read_bytes(), type=dict)["id_fields"]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return {}


def _folds(known: Mapping[str, object]) -> int | None:
    folds = known.get("n_folds")
    return folds if isinstance(folds, int) else None
