"""The bytes of a table that may be wrapped in one zip, or in a zip inside a zip.

Public label tables come as `x.csv.zip` whose only member is called `../dataset_csv/x.csv.zip`, and some of
those members are zips again. Members are read into memory under a limit and never written to a path that the
archive names.
"""

import io
import lzma
import zipfile
import zlib
from pathlib import Path

from ...errors import DataError, some

MAX_BYTES = 1 << 30  # no public label table unpacks to more than 15 MB; 1 GiB is refused as a bomb
MAX_DEPTH = 4
ZIP_MAGIC = b"PK\x03\x04"


def read_table_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of `path`, unzipped as often as it is zipped (at most four times).

    Raises DataError if the file is missing, unreadable, encrypted, holds no or several tables, or unpacks to
    more than `max_bytes`.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a table: give the csv or csv.zip file in it.")
        if size > max_bytes:
            raise DataError(f"{path} holds {size:,} bytes, more than the limit of {max_bytes:,} for a label table.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    for _ in range(MAX_DEPTH):
        if not content.startswith((ZIP_MAGIC, b"PK\x05\x06")):
            if path.suffix.lower() == ".zip" and content.startswith(b"PK"):
                break
            return content
        content = _only_member(path, content, max_bytes)
    raise DataError(f"{path} is a zip inside a zip more than {MAX_DEPTH} levels deep: unpack it and give the csv.")


def _only_member(path: Path, content: bytes, max_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            tables = [m for m in members if m.filename.lower().endswith((".csv", ".zip", ".tsv", ".txt"))]
            chosen = tables or members
            if len(chosen) != 1:
                names = some(m.filename for m in chosen) if chosen else "nothing"
                raise DataError(f"{path} must hold exactly one table but holds {names}: unpack it and give the csv.")
            if chosen[0].flag_bits & 0x1:
                raise DataError(f"{path} is encrypted: unpack it and give the csv.")
            with archive.open(chosen[0]) as member:
                data = member.read(max_bytes + 1)
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    except (
        RuntimeError,
        ValueError,
        UnicodeError,
        IndexError,
        OverflowError,
    ) as error:  # damaged directories
        raise _unreadable(path, error) from error
    if len(data) > max_bytes:
        raise DataError(f"{path} unpacks to more than {max_bytes:,} bytes: no label table does, it is refused.")
    return data


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not a readable zip file ({error}): fetch it again, or unpack it and give the csv.")
