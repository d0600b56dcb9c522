"""How cells are computed, as a user asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import UsageError
from ...names import check_choice

NAMES = ("serial", "local", "ray", "slurm")


@dataclass(frozen=True)
class Options:
    """How cells are computed.

    name: of the engine; `local` for several jobs and `serial` for one where None.
    jobs: cells at once, a number or `auto`: as many as there are GPUs, or cores. Of `ray` and `slurm` it is the cap.
    cpus, gpus: what a cell takes of the machines of `ray` and `slurm`; None for one core and no GPU.
    address: of a Ray cluster, `host:port` or `auto`; None for one that is started here.
    slurm: `KEY=VALUE` pairs, options of sbatch.
    """

    name: str | None = None
    jobs: str | int | None = None
    cpus: float | None = None
    gpus: float | None = None
    address: str | None = None
    slurm: Sequence[str] | None = None

    @property
    def elsewhere(self) -> str | None:
        """The device of the machines that compute, where they are others than this one. Errors: `UsageError`."""
        engine = self.engine
        if engine != "ray" and self.address is not None:
            raise UsageError(f"--address is that of a Ray cluster: add --engine ray, or leave it out (engine {engine})")
        if engine != "slurm" and self.slurm:
            raise UsageError(f"--slurm holds options of sbatch: add --engine slurm, or leave it out (engine {engine})")
        if engine not in ("ray", "slurm"):
            if self.cpus is not None or self.gpus is not None:
                raise UsageError("--cpus and --gpus say what a fold takes on Ray or Slurm: add --engine ray or slurm")
            return None
        return "cuda" if self.gpus else "cpu"

    @property
    def engine(self) -> str:
        """The engine's name. Errors: `UsageError` for one that there is not."""
        if self.name is not None:
            check_choice("engine", self.name, NAMES)
            return self.name
        return "serial" if self.count in (None, 1) else "local"

    @property
    def count(self) -> int | None:
        """Cells at once; None where nothing was said, 0 for `auto`. Errors: `UsageError`."""
        if self.jobs is None:
            return None
        text = str(self.jobs)
        if text == "auto":
            return 0
        if not (text.isascii() and text.isdigit() and int(text)):
            raise UsageError(f"--jobs {text}: expected a number from 1, or auto")
        return int(text)


SERIAL = Options()
