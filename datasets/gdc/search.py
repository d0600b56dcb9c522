"""The GDC REST API: all hits of a search, page by page, with patience, and again from where it stopped.

https://docs.gdc.cancer.gov/API/Users_Guide/Search_and_Retrieval: POST /cases or /files with `filters`, `fields`,
`size`, `from`, `sort`; the answer is {"data": {"hits": [...], "pagination": {"total": ..., "from": ..., "count":
...}}, "warnings": {...}}. GET /status names the data release.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from ...errors import DataError
from ...files import write_whole

BASE = "https://api.gdc.cancer.gov"
RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_BYTES = 256 << 20
PATIENCE = 10  # an answer may take so many times the timeout in all

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Status(msgspec.Struct):
    data_release: str


class _Pagination(msgspec.Struct):
    total: Count
    count: Count
    start: Count = msgspec.field(name="from")


class _Hits(msgspec.Struct):
    hits: list[dict[str, Any]]
    pagination: _Pagination


class _Found(msgspec.Struct):
    data: _Hits
    warnings: dict[str, Any] | None = None


class _Page(msgspec.Struct):
    """What is kept of an answer."""

    total: Count
    hits: list[dict[str, Any]]
    warnings: list[str]


class _Passing(Exception):
    """A fault that may pass; `wait` is how many seconds the server asks for."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Api:
    """Where the API is and how patiently it is asked.

    base: address; retries: further attempts after the first; wait: seconds before the first retry, doubled each
    time up to `longest`; timeout: seconds that an answer may be silent; size: hits a page; sleep: replaced in tests.
    """

    base: str = BASE
    retries: int = 6
    wait: float = 1.0
    longest: float = 60.0
    timeout: float = 60.0
    size: int = 500
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Refuse addresses that are not of the web."""
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DataError(f"{self.base!r} is not the address of an API: give one that begins with https://.")


def release(api: Api) -> str:
    """The data release that the API serves now, as it calls it."""
    return _ask(api, "/status", None, _Status, lambda answer: answer.data_release)


def search(
    api: Api,
    endpoint: str,
    filters: dict,
    fields: Sequence[str],
    pages: Path,
    key: str,
    version: str,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[dict], list[str]]:
    """All hits of a search, in the order of `key` (a field that is different in every hit), and the API's warnings.

    Pages are kept in the folder `pages` with their SHA-256; those that are there, whole, from the same search of
    the same data release (`version`) are not asked for again. `progress(done, total)` is called after every page.
    DataError: no answer in spite of all retries, an answer that is not of the documented form, totals that change
    or hits that repeat while pages are read.
    """
    question = {"filters": filters, "fields": ",".join(fields), "format": "JSON", "sort": f"{key}:asc"}
    name = hashlib.sha256(json.dumps([endpoint, question, api.size, version], sort_keys=True).encode()).hexdigest()[:16]
    hits: dict[str, dict] = {}
    warnings: list[str] = []
    total = None
    while total is None or len(hits) < total:
        start = len(hits)
        kept = pages / f"{name}-{start:06d}.json"
        answer = _kept(kept)
        if answer is None:
            body = question | {"size": str(api.size), "from": str(start)}
            answer = _ask(api, f"/{endpoint}", body, _Found, lambda found, at=start: _page(found, at, key))
            _keep(kept, answer)
        if total is not None and answer.total != total:
            _start_over(api, endpoint, pages, name, f"changed while it was read ({total} hits, now {answer.total})")
        total = answer.total
        fresh = {hit[key]: hit for hit in answer.hits}
        if len(fresh) < len(answer.hits) or hits.keys() & fresh.keys():
            _start_over(api, endpoint, pages, name, "gave some hits twice")
        if (not fresh and start < total) or start + len(fresh) > total:
            _start_over(api, endpoint, pages, name, f"gave {start + len(fresh)} hits where it promised {total}")
        hits |= fresh
        warnings += [w for w in answer.warnings if w not in warnings]
        if progress:
            progress(len(hits), total)
    return list(hits.values()), warnings


def _start_over(api: Api, endpoint: str, pages: Path, name: str, why: str) -> NoReturn:
    """Pages that contradict each other are of no use to a later attempt."""
    for page in pages.glob(f"{name}-*.json"):
        page.unlink(missing_ok=True)
    raise DataError(f"{api.base}/{endpoint} {why}: try again.")


def _page(found: _Found, start: int, key: str) -> _Page:
    """What is kept of an answer; ValueError where it contradicts itself."""
    hits, pagination = found.data.hits, found.data.pagination
    if not all(isinstance(hit.get(key), str) for hit in hits):
        raise ValueError(f"a hit has no {key}")
    if pagination.count != len(hits) or pagination.start != start:
        raise ValueError(f"{pagination} does not fit {len(hits)} hits from {start}")
    return _Page(pagination.total, hits, [f"{k}: {v}" for k, v in sorted((found.warnings or {}).items())])


def _ask(api: Api, path: str, body: dict | None, form: type[T], read: Callable[[T], U]) -> U:
    """What `read` makes of one answer of the documented `form`, asked for again after faults that may pass."""
    url = api.base.rstrip("/") + path

    def attempt() -> U:
        try:
            content = _content(api, url, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _Passing(str(error) or type(error).__name__) from error
        try:
            return read(msgspec.json.decode(content, type=form))
        except (ValueError, RecursionError) as error:
            why = f"the answer is not of the documented form ({type(error).__name__}: {error})"
            raise _Passing(why[:300]) from error

    def wait(state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        asked_for = fault.wait if isinstance(fault, _Passing) else 0.0
        return min(max(asked_for, api.wait * 2.0 ** (state.attempt_number - 1)), api.longest)

    attempts = api.retries + 1
    again, stop = retry_if_exception_type(_Passing), stop_after_attempt(attempts)
    try:
        return Retrying(stop=stop, wait=wait, retry=again, sleep=api.sleep, reraise=True)(attempt)
    except _Passing as fault:
        raise DataError(
            f"{url} gave no usable answer in {attempts} attempts: {fault}. What was read is kept: try again."
        ) from fault


def _content(api: Api, url: str, body: dict | None) -> bytes:
    """The body of one answer. _Passing or requests' and urllib3's errors for faults that may pass; else DataError."""
    deadline = time.monotonic() + PATIENCE * api.timeout
    method, headers = "GET" if body is None else "POST", {"Accept": "application/json", "Accept-Encoding": "identity"}
    with requests.request(method, url, json=body, headers=headers, timeout=api.timeout, stream=True) as answer:
        content = bytearray()
        for chunk in iter(lambda: answer.raw.read1(1 << 16), b""):
            content += chunk
            if len(content) > MAX_BYTES:
                raise DataError(f"{url} answers with more than {MAX_BYTES:,} bytes: that is not the API.")
            if time.monotonic() > deadline:
                raise _Passing("the answer trickles")
    if answer.ok:
        return bytes(content)
    why = f"status {answer.status_code} {answer.reason}"
    if answer.status_code not in RETRY:
        raise DataError(f"{url} refuses: {why}. {_message(bytes(content))}".rstrip())
    asked_for = answer.headers.get("Retry-After", "")
    raise _Passing(why, float(asked_for) if asked_for.isdigit() else 0.0)


def _message(content: bytes) -> str:
    """What an answer that refuses says, if it says anything."""
    try:
        answer = msgspec.json.decode(content, type=dict[str, Any])
    except ValueError:
        return ""
    return str(answer.get("message") or answer.get("error") or "")[:500]


def _kept(path: Path) -> _Page | None:
    """A page from an earlier attempt, or None where there is none or it is damaged."""
    try:
        checksum, _, content = path.read_text("utf-8").partition("\n")
        if hashlib.sha256(content.encode()).hexdigest() != checksum:
            return None
        return msgspec.json.decode(content, type=_Page)
    except (OSError, ValueError):
        return None


def _keep(path: Path, page: _Page) -> None:
    content = msgspec.json.encode(page)
    write_whole(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
