"""bench features fetch: the features of one cohort out of a public set, from the hub of Hugging Face.

The library huggingface_hub fetches; it goes on where an interrupted download stopped. Here it is decided which files
are those of the cohort, how much disk they need, and whether what came is what the hub says (SHA-256, or git's hash).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ...errors import DataError, UsageError, some, writing
from ...files import write_whole
from ...names import check_choice
from ..cohorts import Cohort
from .archive import ENDINGS, RESERVE
from .known_sets import KNOWN_SETS, KnownSet

NOTE = "fetched.json"
"""Beside what was fetched: the set, its commit, and the files whose content was compared, with their checksums."""
FORMAT = "milsurv-features-fetch"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a set: its path there, its bytes, and its SHA-256, or where the hub keeps none the hash of git."""

    path: str
    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True)
class FetchPlan:
    """What will be fetched: the files of one cohort, from one commit, into `folder`; `missing` bytes are not there."""

    known: KnownSet
    cohort: str
    commit: str
    files: tuple[RemoteFile, ...]
    folder: Path
    missing: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def archives(self) -> int:
        """How many of them are archives, which need about their size again when they are read."""
        return sum(file.path.lower().endswith(ENDINGS) for file in self.files)


def known_set(name: str) -> KnownSet:
    """The set of that name. Errors: `UsageError` lists the known ones and the nearest."""
    check_choice("set of features", name, KNOWN_SETS)
    return KNOWN_SETS[name]


def plan(known: KnownSet, cohort: Cohort, out: Path, encoder: str | None = None) -> FetchPlan:
    """Which files of a set are those of a cohort, and how much of them is there already.

    encoder: which folder, where a set holds several encoders. DataError if the set cannot be reached or its terms were
    not accepted, if it holds nothing of the cohort, or the disk has no room; `UsageError` for an encoder it lacks.
    """
    if known.calls and encoder is None:
        raise UsageError(f"{known.name} holds several encoders: choose one with --backbone {', '.join(known.calls)}")
    if encoder is not None and known.calls:
        check_choice("encoder of this set", encoder, known.calls)
    if not cohort.projects:
        raise UsageError(f"{cohort.name} is no cohort of TCGA: {known.repository} holds nothing of it")
    api = _api()
    with _reaching(known):
        commit = str(api.dataset_info(known.repository).sha)
        found = {file.path: file for file in _files(api, known, cohort, commit, encoder)}
    if not found:
        raise DataError(f"{known.repository} holds no files of {cohort.name} ({some(known.patterns)}).")
    folder = out / known.repository.split("/")[1]
    files = tuple(found[path] for path in sorted(found))
    missing = sum(file.size for file in files if not _there(folder / file.path, file))
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if missing + RESERVE > free:
        raise DataError(
            f"{known.repository}: the {len(files)} files of {cohort.name} need {size_of(missing)}, and {place} has "
            f"{size_of(free)} free. Choose another folder with --out."
        )
    return FetchPlan(known, cohort.name, commit, files, folder, missing)


def fetch(planned: FetchPlan, progress: Callable[[int, int], None] | None = None) -> Path:
    """Fetch the files of a plan and compare each with its checksum; gives the folder, which `--features` takes.

    What was fetched and compared before is not fetched again. `progress(done, total)` counts files. DataError names the
    file that came damaged (it is deleted) or why the hub gave none; run it again then.
    """
    from huggingface_hub import hf_hub_download

    folder = planned.folder
    compared = _note(folder, planned.commit)
    with writing(folder, "free space or choose another folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)
        for done, file in enumerate(planned.files, 1):
            path = folder / file.path
            if compared.get(file.path) != asdict(file) or not _there(path, file):
                with _reaching(planned.known):
                    hf_hub_download(
                        planned.known.repository, file.path, repo_type="dataset", revision=planned.commit,
                        local_dir=folder, endpoint=_endpoint(),
                    )  # fmt: skip
                _compare(path, file)
                compared[file.path] = asdict(file)
                _write_note(planned, compared)
            if progress is not None:
                progress(done, len(planned.files))
    return folder


def fetched_archives(folder: Path) -> list[Path]:
    """The archives that were fetched into a folder for one cohort; none where it was not filled so."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        note = json.loads((folder / NOTE).read_text("utf-8"))
        if note.get("format") == FORMAT:
            return [folder / path for path in sorted(note["files"]) if path.lower().endswith(ENDINGS)]
    return []


def size_of(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _files(api: Any, known: KnownSet, cohort: Cohort, commit: str, encoder: str | None) -> Iterator[RemoteFile]:
    for project in cohort.projects:
        for pattern in known.patterns:
            wanted = pattern.format(project=project, cohort=cohort.name, encoder=encoder or "*")
            yield from _matching(api, known, commit, wanted.split("/"))


def _matching(api: Any, known: KnownSet, commit: str, parts: list[str]) -> Iterator[RemoteFile]:
    """The files of a glob pattern, level by level: a set may hold a hundred thousand files, a project a thousand."""
    from huggingface_hub.hf_api import RepoFile

    level = [""]
    for part in parts[:-1]:
        if not any(sign in part for sign in "*?["):
            level = [f"{path}/{part}".strip("/") for path in level]
        else:
            level = [
                item.path for path in level for item in _listed(api, known, commit, path)
                if not isinstance(item, RepoFile) and _fits(item.path, part)
            ]  # fmt: skip
    for path in level:
        for item in _listed(api, known, commit, path):
            if isinstance(item, RepoFile) and _fits(item.path, parts[-1]):
                yield RemoteFile(item.path, item.size, item.lfs.sha256 if item.lfs else None, item.blob_id)


def _listed(api: Any, known: KnownSet, commit: str, path: str) -> list:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return list(api.list_repo_tree(known.repository, path or None, repo_type="dataset", revision=commit))
    except EntryNotFoundError:
        return []


def _fits(path: str, pattern: str) -> bool:
    return fnmatch(path.rsplit("/", 1)[-1].lower(), pattern.lower())


def _there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _compare(path: Path, file: RemoteFile) -> None:
    """Errors: `DataError` where a file is not what the hub says; it is deleted, so that the next run fetches it."""
    size = path.stat().st_size
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {size}\0".encode())
    with path.open("rb") as content:
        while piece := content.read(4 << 20):
            digest.update(piece)
    if size != file.size or digest.hexdigest() != (file.sha256 or file.git):
        path.unlink()
        raise DataError(f"{path} came damaged: its checksum is not that of the hub. Run the command again.")


def _note(folder: Path, commit: str) -> dict[str, object]:
    with suppress(OSError, ValueError, AttributeError, TypeError):
        note = json.loads((folder / NOTE).read_text("utf-8"))
        if note.get("format") == FORMAT and note.get("commit") == commit:
            return dict(note["files"])
    return {}


def _write_note(planned: FetchPlan, compared: dict[str, object]) -> None:
    note = {
        "format": FORMAT, "set": planned.known.name, "repository": planned.known.repository,
        "licence": planned.known.licence, "cohort": planned.cohort, "commit": planned.commit, "files": compared,
    }  # fmt: skip
    write_whole(planned.folder / NOTE, json.dumps(note, indent=1))


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UsageError("fetching features needs a library: pip install 'milsurv[hub]'") from None
    return HfApi(endpoint=_endpoint())


@contextmanager
def _reaching(known: KnownSet) -> Iterator[None]:
    """What can go wrong on the way to the hub, each with its remedy."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/datasets/{known.repository}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise DataError(
            f"{known.repository} is gated: accept its terms ({known.licence}) at {page} with an account of the hub, "
            "then log in with `hf auth login` or put the account's token into HF_TOKEN."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"{known.repository} is not on the hub, or not open to this account. See {page}; a token that is not valid "
            "any more has the same effect."
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise DataError(
            f"{known.repository}: the hub answered with status {status}. Run the command again: it goes on where it "
            "stopped."
        ) from error
    except (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise DataError(_unreachable(known, error)) from error
    except OSError as error:
        if error.errno is not None:
            raise  # of the disk
        raise DataError(_unreachable(known, error)) from error
    except Exception as error:
        if "httpx" not in type(error).__module__ and "hf_xet" not in type(error).__module__:
            raise
        raise DataError(_unreachable(known, error)) from error


def _unreachable(known: KnownSet, error: Exception) -> str:
    brief = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return (
        f"{known.repository} could not be fetched ({brief}). Check the connection (and HF_ENDPOINT, if it is set) and "
        "run the command again: it goes on where it stopped."
    )
