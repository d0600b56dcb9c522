"""Checkpoints within a fold: after the end of a process at any moment, training goes on to the same bits.

A checkpoint is one file, written whole. Its first line holds the SHA-256 of the rest, which torch loads as data alone
(`weights_only`). It belongs to one fold of one experiment, as one version of the code computes it.
"""

import copy
import hashlib
import io
import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from ...errors import Remark
from ...files import write_whole
from .interruption import STOP, Interruption, Stopped

_MARK = b"milsurv checkpoint 1 "
_SHARE = 500
"""The time between two checkpoints is at least so many times what one takes: two per mille of the time."""


class Stateful(Protocol):
    """Whatever has a state to be kept, as torch's modules and optimizers do: plain values and tensors, nested."""

    def state_dict(self) -> dict[str, Any]:
        """The state as it is now."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> Any:
        """Take over a state."""
        ...


class Checkpoint:
    """The checkpoint of one training: found when it begins, saved from time to time and when it is asked to stop.

    Parameters
    ----------
    path
        Where it lies; None keeps nothing, and only stops when asked to.
    bound
        What it belongs to: experiment, fold, code. One that is bound to anything else is not used.
    every
        Seconds between two of them, 0 for one after each step; None for none.
    stop
        Who says that the process is asked to stop.

    Attributes
    ----------
    open
        False while a part has something that is in no state: nothing is saved then.
    """

    def __init__(
        self,
        path: Path | None = None,
        bound: Mapping[str, str] | None = None,
        every: float | None = None,
        stop: Interruption = STOP,
    ) -> None:
        self.path = path if every is not None else None
        self.bound, self.every, self.stop = dict(bound or {}), every or 0.0, stop
        self._started = time.monotonic()
        self._due = self._started + self.every
        self._parts: dict[str, Stateful] = {}
        self._frozen: dict[str, Any] | None = None
        self.open = True
        self._found = self._read() if self.path is not None else None

    def found(self, part: str) -> bool:
        """Whether there is a state of this part to go on from."""
        return self._found is not None and part in self._found["parts"]

    @property
    def seconds(self) -> float:
        """Time of training, that before the checkpoint included."""
        return time.monotonic() - self._started + (self._found["seconds"] if self._found else 0.0)

    def holds(self, **parts: Stateful) -> None:
        """Name what is saved; where a checkpoint was found that has come so far, its states are loaded into it."""
        self._frozen = None
        for name, part in parts.items():
            self._parts[name] = part
            if self._found is not None and self.found(name):
                part.load_state_dict(self._found["parts"].pop(name))

    def pause(self) -> None:
        """Between two steps: save if it is time to.

        Raises
        ------
        Stopped
            The process is asked to stop; the state is saved.
        """
        if self.stop.reason is not None:
            kept = self.path is not None and self.open and self.save()
            raise Stopped("the fold under way is kept up to here" if kept else "the fold under way is not kept")
        if self.path is not None and self.open and time.monotonic() >= self._due:
            self.save()

    def freeze(self) -> None:
        """Save the state of this moment from now on, whatever becomes of the parts."""
        self.open = True
        if self.path is not None:
            self._frozen = copy.deepcopy(self._state())

    def save(self) -> bool:
        """Write the state. A folder that does not take it costs the checkpoint, with a `Remark`, and not the training.

        Returns whether it is written.
        """
        assert self.path is not None
        begun = time.monotonic()
        held = {"bound": self.bound, "seconds": self.seconds, "parts": self._frozen or self._state()}
        buffer = io.BytesIO()
        torch.save(held, buffer)
        body = buffer.getvalue()
        try:
            write_whole(self.path, _MARK + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            return True
        except OSError as error:
            warnings.warn(
                f"{self.path} cannot be written ({error.strerror or error}): training goes on without this checkpoint",
                Remark,
                stacklevel=3,
            )
            return False
        finally:
            now = time.monotonic()
            self._due = now + (max(self.every, _SHARE * (now - begun)) if self.every else 0.0)

    def _state(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts.items()}

    def _read(self) -> dict[str, Any] | None:
        assert self.path is not None
        for left in self.path.parent.glob(f".{self.path.name}.*.partial"):  # of a process that was killed
            left.unlink(missing_ok=True)
        try:
            first, _, body = self.path.read_bytes().partition(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return self._refuse(f"cannot be read ({error.strerror or error})")
        if first != _MARK + hashlib.sha256(body).hexdigest().encode():
            return self._refuse("is damaged")
        try:
            held = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            return self._refuse(f"cannot be loaded as data ({error})")
        if held["bound"] != self.bound:
            other = [key for key in self.bound if held["bound"].get(key) != self.bound[key]]
            return self._refuse(f"was written with another {' and '.join(other) or 'version'}")
        return held

    def _refuse(self, why: str) -> None:
        warnings.warn(f"{self.path} {why}: the fold is trained from its start", Remark, stacklevel=4)


def nothing() -> None:
    """Called between two pieces of a prediction where nobody wants to be."""


Between = Callable[[], None]
"""Called between two pieces of work, when a checkpoint may be saved."""
