"""The bytes of a table that may be wrapped: gzipped, zipped, or zipped again inside a zip.

Public label tables come as `x.csv.zip` whose only member is called `../dataset_csv/x.csv.zip`, and some of
those members are zips again. Members are read into memory under a limit and never written to a path that the
archive names.
"""

import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path

from ...errors import DataError, some
from ...files import read_regular
from .limits import MAX_BYTES

MAX_DEPTH = 4
ZIP_MAGIC = b"PK\x03\x04"
GZIP_MAGIC = b"\x1f\x8b"
OFFICE = ("[Content_Types].xml", "mimetype")
"""Members that say a zip is no wrapping but a document: of Excel, and of OpenDocument."""
_TABLES = (".csv", ".zip", ".tsv", ".txt", ".gz", ".xlsx", ".parquet", ".json")
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)
_DAMAGED = (RuntimeError, ValueError, UnicodeError, IndexError, OverflowError)  # of damaged directories
UNREADABLE = (*_BROKEN, *_DAMAGED, LookupError, TypeError, AttributeError, SyntaxError, ArithmeticError)
"""What libraries raise that read damaged documents (SyntaxError is that of XML)."""


def read_table_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of `path`, unpacked as often as it is packed (at most four times).

    Raises DataError if the file is missing, unreadable, encrypted, holds no or several tables, or unpacks to
    more than `max_bytes`.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a table: give the csv or csv.zip file in it.")
        if size > max_bytes:
            raise DataError(f"{path} holds {size:,} bytes, more than the limit of {max_bytes:,} for a table{_LARGER}.")
        content = read_regular(path, max_bytes)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    for _ in range(MAX_DEPTH):
        if content.startswith(GZIP_MAGIC):
            content = _gunzipped(path, content, max_bytes)
        elif content.startswith((ZIP_MAGIC, b"PK\x05\x06")):
            if is_document(content):
                return content
            content = _only_member(path, content, max_bytes)
        elif path.suffix.lower() == ".zip" and content.startswith(b"PK"):
            break
        else:
            return content
    raise DataError(f"{path} is a zip inside a zip more than {MAX_DEPTH} levels deep: unpack it and give the csv.")


_LARGER = " (--table-mib raises it)"


def is_document(content: bytes) -> bool:
    """Whether a zip is a document of an office program, which is read as a whole."""
    if not content.startswith(ZIP_MAGIC):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name in OFFICE for name in archive.namelist())
    except (*_BROKEN, *_DAMAGED):
        return False


def check_unpacked_size(path: Path, content: bytes, max_bytes: int) -> None:
    """Refuse a document whose members would unpack to more than `max_bytes`. DataError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (*_BROKEN, *_DAMAGED) as error:
        raise _unreadable(path, error) from error
    if size > max_bytes:
        raise _too_large(path, max_bytes)


def _gunzipped(path: Path, content: bytes, max_bytes: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            data = packed.read(max_bytes + 1)
    except (*_BROKEN, *_DAMAGED) as error:
        message = f"{path} is not a readable gzip file ({error}): fetch it again, or unpack it and give the csv."
        raise DataError(message) from error
    if len(data) > max_bytes:
        raise _too_large(path, max_bytes)
    return data


def _only_member(path: Path, content: bytes, max_bytes: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            tables = [m for m in members if m.filename.lower().endswith(_TABLES)]
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
    except (*_BROKEN, *_DAMAGED) as error:
        raise _unreadable(path, error) from error
    if len(data) > max_bytes:
        raise _too_large(path, max_bytes)
    return data


def _too_large(path: Path, max_bytes: int) -> DataError:
    return DataError(f"{path} unpacks to more than {max_bytes:,} bytes: no label table does, it is refused{_LARGER}.")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is not a readable zip file ({error}): fetch it again, or unpack it and give the csv.")
