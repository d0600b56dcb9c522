"""The study of one fold: which settings were tried, what came of them, and which is tried next. The only importer of
optuna.

A study is a file of one line an event, `tuning.journal`, which optuna-dashboard reads as well. What is tried next
follows from the trials before it and from a seed of its own, and is written down before it is tried. So a study that
was killed goes on with the trial that it was killed in, under its number and with its settings, and ends with the same
numbers as one that never was.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ...errors import writing
from ..results.trials import TrialRecord
from .spaces import Space

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

JOURNAL = "tuning.journal"
"""The file of a study, in the folder of its fold."""
LOCK = ".tuning.lock"
RANDOM = 10
"""So many trials are drawn at random before the rest are chosen; a third of a smaller budget."""


@dataclass
class OpenTrial:
    """A trial that is being computed: its number and settings, and what an earlier process had found of it."""

    number: int
    settings: Mapping[str, Any]
    parts: dict[int, dict[str, Any]] = field(default_factory=dict)


class TrialStudy:
    """The trials of one fold, in `folder`.

    Parameters
    ----------
    folder
        That of the fold; made where there is none.
    name
        What optuna-dashboard calls the study.
    space, start
        What may vary, and the setting without tuning, which is tried first.
    seed
        Of what is tried next.
    inner
        Inner folds; with 1, trials are compared while they are trained, else fold by fold.
    trials
        How many there will be; None where that is not known.

    Raises
    ------
    CannotWrite
        The journal cannot be written.
    """

    def __init__(
        self, folder: Path, name: str, space: Space, start: Mapping[str, object], seed: int, inner: int,
        trials: int | None,
    ) -> None:  # fmt: skip
        self.start, self.seed, self.trials = dict(start), seed, trials
        self.folder = folder
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK)
            with self._lock:
                _cut_half_line(folder / JOURNAL)
            self._storage = _storage(folder / JOURNAL, self._lock)
            self._space = {key: _distribution(of) for key, of in space.items()}
            import optuna

            _quiet()
            self._study = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", load_if_exists=True,
                pruner=_pruner(inner),
            )  # fmt: skip
        self._open: dict[int, Trial] = {}

    def restore(self) -> None:
        """Take trials that a killed process left half-way for trials that wait. Call it while nobody works on them."""
        from optuna.trial import TrialState

        with _writing(self.folder):
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def next(self, more: bool = True) -> OpenTrial | None:
        """The next trial: one that waits, or else a new one while there are fewer than `trials` and `more` is True."""
        from optuna.trial import TrialState

        with _writing(self.folder), self._lock:
            known = self._study.get_trials(deepcopy=False)
            if not any(trial.state == TrialState.WAITING for trial in known):
                if not more or (self.trials is not None and len(known) >= self.trials):
                    return None
                settings = self._suggest(known) if known else self.start
                self._study.enqueue_trial(settings)
            trial = self._study.ask(self._space)
        self._open[trial.number] = trial
        return OpenTrial(trial.number, dict(trial.params), _parts(trial.user_attrs))

    def keep(self, number: int, part: int, found: Mapping[str, Any]) -> None:
        """Write down what an inner fold gave, plain values by name."""
        with _writing(self.folder):
            self._open[number].set_user_attr(f"inner_{part}", dict(found))

    def behind(self, number: int, step: int, value: float) -> bool:
        """Report the value at a step (an inner fold, or a tenth of the training); whether to stop the trial here.

        What an earlier process reported is not reported again, and it was not stopped before its last report.
        """
        trial = self._open[number]
        with _writing(self.folder):
            known = self._study.get_trials(deepcopy=False)[number].intermediate_values
            if step in known and step < max(known):
                return False
            if step not in known:
                trial.report(value, step)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # optuna: the best trial may have other steps than this one
                return trial.should_prune()

    def finish(self, number: int, value: float, seconds: float, epochs: int) -> None:
        """The trial is over, and this is what it gave."""
        self._end(number, "COMPLETE", seconds, epochs, value)

    def stop(self, number: int, seconds: float, epochs: int) -> None:
        """The trial was behind, and was stopped."""
        self._end(number, "PRUNED", seconds, epochs)

    def fail(self, number: int, error: str, seconds: float, epochs: int) -> None:
        """The trial failed: training diverged, or memory was too small."""
        with _writing(self.folder):
            self._open[number].set_user_attr("error", error)
        self._end(number, "FAIL", seconds, epochs)

    def records(self) -> list[TrialRecord]:
        """All trials so far."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def close(self) -> None:
        """Leave nothing but the journal. Call it when the study is over."""
        (self.folder / LOCK).unlink(missing_ok=True)

    def _end(self, number: int, state: str, seconds: float, epochs: int, value: float | None = None) -> None:
        from optuna.trial import TrialState

        trial = self._open.pop(number)
        with _writing(self.folder):
            trial.set_user_attr("seconds", round(seconds, 3))
            trial.set_user_attr("epochs", epochs)
            self._study.tell(trial, value, TrialState[state])

    def _suggest(self, known: "Sequence[FrozenTrial]") -> dict[str, Any]:
        """What is tried next: a function of the trials before it, of their number and of the seed alone.

        Multivariate TPE; trials that other workers have not finished count as bad ones, so that no two try the same.
        """
        import optuna
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        random = RANDOM if self.trials is None else min(RANDOM, max(1, self.trials // 3))
        seed = (self.seed + len(known)) % 2**32
        sampler = TPESampler(multivariate=True, constant_liar=True, n_startup_trials=random, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([trial for trial in known if trial.state != TrialState.FAIL])
        return study.ask(self._space).params


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The finished trial of the highest value, of equal ones the earliest; None where none is finished."""
    finished = [record for record in records if record.state == "finished" and record.value is not None]
    return max(finished, key=lambda record: (record.value, -record.number), default=None)


def _record(trial: "FrozenTrial") -> TrialRecord:
    states = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "failed"}
    parts = _parts(trial.user_attrs)
    given = [part["c_index"] for _, part in sorted(parts.items())]
    steps = [value for _, value in sorted(trial.intermediate_values.items())]
    return TrialRecord(
        number=trial.number,
        state=states.get(trial.state.name, "running"),
        value=trial.value if trial.state.name == "COMPLETE" else None,
        inner=tuple(given or steps),
        settings=dict(trial.params) or dict(trial.system_attrs.get("fixed_params", {})),
        seconds=trial.user_attrs.get("seconds", 0.0),
        epochs=trial.user_attrs.get("epochs", 0),
        error=trial.user_attrs.get("error"),
    )


def _parts(attributes: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    return {int(key.removeprefix("inner_")): value for key, value in attributes.items() if key.startswith("inner_")}


def _storage(journal: Path, lock: FileLock) -> "JournalStorage":
    """The file as optuna's storage, under a lock of the operating system: one of optuna's own would outlive a killed
    process."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    # Optuna calls acquire() and release() of its lock, and nothing else.
    return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))  # pyright: ignore[reportArgumentType]


def _cut_half_line(journal: Path) -> None:
    """Drop what a process, or a full disk, left of a last line: optuna would take it for a damaged file."""
    if journal.is_file() and (text := journal.read_bytes()) and not text.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def _distribution(of: Mapping[str, Any]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in of:
        return CategoricalDistribution(of["choices"])
    kind = IntDistribution if isinstance(of["low"], int) else FloatDistribution
    return kind(of["low"], of["high"], log=of["log"])


def _pruner(inner: int) -> "BasePruner":
    """When a trial is stopped early.

    Over inner folds by Wilcoxon's signed-rank test against the best trial so far. Its p-value after k folds is at least
    2^-k, so that the usual level of 0.1 never stops a trial of three: the level is what one that was worse on all folds
    but its last reaches. With a single validation split by the median of all trials, at tenths of the training.
    """
    from optuna.pruners import MedianPruner, WilcoxonPruner

    if inner == 1:
        return MedianPruner(n_startup_trials=5, n_warmup_steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls it experimental
        return WilcoxonPruner(p_threshold=max(0.1, 1.01 * 2.0 ** (1 - inner)), n_startup_steps=2)


def _quiet() -> None:
    """Optuna would announce every study and every trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _writing(folder: Path) -> AbstractContextManager[None]:
    return writing(folder / JOURNAL, "finished trials are kept; make room or choose another --out")
