"""Write an entry, and verify it before anybody else does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import RowError
from ...files import UNFINISHED, whole_folder
from ...leaderboards.entries.entry import FILES, HEAD
from ...leaderboards.entries.submission import select
from .entry import verify


@dataclass(frozen=True)
class SubmittedEntry:
    """What was written: `shared` experiments with their predictions, `withheld` ones with evidence only."""

    entry: str
    experiments: int
    rows: int
    shared: int
    withheld: int
    bytes: int

    def as_json(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def submit(
    results: Sequence[Path],
    folder: Path,
    head: Mapping[str, str],
    cohorts: Sequence[str] = (),
    models: Sequence[str] = (),
    with_patients: bool | None = None,
) -> SubmittedEntry:
    """Write the entry `folder` of complete experiments below `results`; see `select` for what is taken and refused.

    Predictions are shortened where the entry still verifies, and whole where it does not. The folder is there whole or
    not at all; an entry that lies there is replaced. Errors: `RowError` where the folder holds something else, or rows
    do not follow from their own predictions.
    """
    lacking = [key for key in ("title", "who") if not head[key].strip()]
    if lacking:
        raise RowError(f"--{lacking[0]} is empty; an entry says what was run and whom to ask")
    # An earlier version filled the folder itself: what it left of an entry when it was killed is replaced.
    own = {HEAD, *FILES}
    if folder.is_dir() and any(path.name not in own and not path.match(UNFINISHED) for path in folder.iterdir()):
        raise RowError(f"{folder}: holds other files; choose a new folder for the entry")
    chosen = select(results, cohorts, models, with_patients)
    with whole_folder(folder) as place:
        for exact in (False, True):
            chosen.write(place, head, exact)
            faults = [fault.replace(place.name, folder.name) for fault in verify(place, simulate=False).faults]
            if not faults:
                break
        else:
            raise RowError(
                f"{folder}: the rows do not follow from their predictions: {'. '.join(faults[:5])}. "
                "Run these experiments again"
            )
    return SubmittedEntry(
        str(folder),
        len(chosen.id_fields),
        len(chosen.rows),
        len(chosen.shared),
        len(chosen.withheld),
        sum(path.stat().st_size for path in folder.iterdir()),
    )
