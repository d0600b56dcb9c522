"""Mistakes: what a user can correct becomes one line and an exit status; what is our fault keeps its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """Ends the command with a message and an exit status; every kind of mistake becomes one."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def explained() -> Iterator[None]:
    """Turn what users can correct into one line and an exit status; what is our fault keeps its traceback."""
    from ...errors import DataError, RowError, UnknownName, UsageError

    try:
        yield
    except (UsageError, UnknownName) as error:
        raise Failure(str(error), 2) from error
    except (DataError, RowError) as error:
        raise Failure(str(error), 1) from error
    except (MemoryError, ImportError) as error:
        if isinstance(error, ImportError) and "failed to map segment" not in str(error):
            raise
        raise Failure(f"out of memory ({type(error).__name__}: {error}); what is finished is kept", 1) from error
    except OSError as error:
        if error.filename is not None:
            raise Failure(f"{error.filename}: {error.strerror}", 1) from error
        if error.errno is None:
            raise
        raise Failure(f"{error.strerror}: free space where results, temporary files and output go", 1) from error
