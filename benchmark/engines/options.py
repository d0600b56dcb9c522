"""How cells are computed, as a user asks for it."""

from dataclasses import dataclass

from ...errors import UsageError
from ...names import check_choice

NAMES = ("serial", "local", "ray", "slurm")


@dataclass(frozen=True)
class Options:
    """How cells are computed.

    name: of the engine; `local` for several jobs and `serial` for one where None.
    jobs: cells at once, a number or `auto`: as many as there are GPUs, or cores. Of `ray` and `slurm` it is the cap.
    """

    name: str | None = None
    jobs: str | int | None = None

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
