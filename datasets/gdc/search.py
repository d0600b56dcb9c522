"""The GDC REST API: all hits of a search, page by page, with patience, and again from where it stopped.

https://docs.gdc.cancer.gov/API/Users_Guide/Search_and_Retrieval: POST /cases or /files with `filters`, `fields`,
`size`, `from`, `sort`; the answer is {"data": {"hits": [...], "pagination": {"total": ..., "from": ..., "count":
...}}, "warnings": {...}}. GET /status names the data release.
"""

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from ...errors import DataError
from ...files import write_whole

BASE = "https://api.gdc.cancer.gov"
RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_BYTES = 256 << 20
PATIENCE = 10  # an answer may take so many times the timeout in all

T = TypeVar("T")


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
        """Refuse addresses that are not of the web: urllib would read files."""
        parts = urllib.parse.urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise DataError(f"{self.base!r} is not the address of an API: give one that begins with https://.")


def release(api: Api) -> str:
    """The data release that the API serves now, as it calls it."""
    return str(_ask(api, "/status", None, lambda answer: answer["data_release"]))


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
            answer = _ask(api, f"/{endpoint}", body, lambda found, at=start: _page(found, at, key))
            _keep(kept, answer)
        if total is not None and answer["total"] != total:
            _start_over(api, endpoint, pages, name, f"changed while it was read ({total} hits, now {answer['total']})")
        total = int(answer["total"])
        fresh = {hit[key]: hit for hit in answer["hits"]}
        if len(fresh) < len(answer["hits"]) or hits.keys() & fresh.keys():
            _start_over(api, endpoint, pages, name, "gave some hits twice")
        if (not fresh and start < total) or start + len(fresh) > total:
            _start_over(api, endpoint, pages, name, f"gave {start + len(fresh)} hits where it promised {total}")
        hits |= fresh
        warnings += [w for w in answer["warnings"] if w not in warnings]
        if progress:
            progress(len(hits), total)
    return list(hits.values()), warnings


def _start_over(api: Api, endpoint: str, pages: Path, name: str, why: str) -> NoReturn:
    """Pages that contradict each other are of no use to a later attempt."""
    for page in pages.glob(f"{name}-*.json"):
        page.unlink(missing_ok=True)
    raise DataError(f"{api.base}/{endpoint} {why}: try again.")


def _page(answer: dict, start: int, key: str) -> dict:
    """What is kept of an answer; KeyError, TypeError or ValueError where it is not of the documented form."""
    data, pagination = answer["data"], answer["data"]["pagination"]
    hits = data["hits"]
    if not isinstance(hits, list) or not all(isinstance(hit, dict) and isinstance(hit.get(key), str) for hit in hits):
        raise ValueError(f"hits are no list of objects with {key}")
    total, count = pagination["total"], pagination["count"]
    if type(total) is not int or total < 0 or count != len(hits) or pagination["from"] != start:
        raise ValueError(f"pagination {pagination} does not fit {len(hits)} hits from {start}")
    said = answer.get("warnings") or {}
    return {"total": total, "hits": hits, "warnings": [f"{k}: {v}" for k, v in sorted(said.items())]}


def _ask(api: Api, path: str, body: dict | None, read: Callable[[dict], T]) -> T:
    """One answer, asked for again after faults that may pass."""
    url = api.base.rstrip("/") + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", "Accept": "application/json"})
    why, pause = "", 0.0
    for attempt in range(api.retries + 1):
        if attempt:
            api.sleep(max(pause, min(api.wait * 2 ** (attempt - 1), api.longest)))
        pause = 0.0
        try:
            with urllib.request.urlopen(request, timeout=api.timeout) as answer:
                content = _read(answer, time.monotonic() + PATIENCE * api.timeout)
            if len(content) > MAX_BYTES:
                raise DataError(f"{url} answers with more than {MAX_BYTES:,} bytes: that is not the API.")
            return read(json.loads(content))
        except urllib.error.HTTPError as error:
            why = f"status {error.code} {error.reason}"
            if error.code not in RETRY:
                raise DataError(f"{url} refuses: {why}. {_said(error)}".rstrip()) from error
            wanted = error.headers.get("Retry-After", "")
            pause = min(float(wanted), api.longest) if wanted.isdigit() else 0.0
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
            why = str(getattr(error, "reason", "") or error) or type(error).__name__
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = f"the answer is not of the documented form ({type(error).__name__}: {error})"[:300]
    raise DataError(
        f"{url} gave no usable answer in {api.retries + 1} attempts: {why}. What was read is kept: try again."
    )


def _read(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, or TimeoutError when it only trickles; http.client.IncompleteRead when it ends too early."""
    content = bytearray()
    while chunk := answer.read1(1 << 16):
        content += chunk
        if len(content) > MAX_BYTES:
            break
        if time.monotonic() > deadline:
            raise TimeoutError("the answer trickles")
    if answer.length:  # read1 does not tell that bytes are missing
        raise http.client.IncompleteRead(bytes(content), answer.length)
    return bytes(content)


def _said(error: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(error.read(10_000))
        return str(said.get("message") or said.get("error") or "")[:500]
    except (ValueError, AttributeError, OSError, http.client.HTTPException):
        return ""


def _kept(path: Path) -> dict | None:
    """A page from an earlier attempt, or None where there is none or it is damaged."""
    try:
        checksum, _, content = path.read_text("utf-8").partition("\n")
        if hashlib.sha256(content.encode()).hexdigest() != checksum:
            return None
        return json.loads(content)
    except (OSError, ValueError):
        return None


def _keep(path: Path, page: dict) -> None:
    content = json.dumps(page, ensure_ascii=True)
    write_whole(path, f"{hashlib.sha256(content.encode()).hexdigest()}\n{content}")
