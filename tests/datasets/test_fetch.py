"""bench data fetch against a server on this machine that answers as the GDC API documents, faults included."""

import csv
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from milsurv.datasets import cohorts
from milsurv.datasets.gdc.fetch import Fetched, fetch
from milsurv.datasets.gdc.manifest import read_manifest
from milsurv.datasets.gdc.search import Api
from milsurv.datasets.labels.read import read_labels
from milsurv.errors import DataError

BLCA = cohorts.get("blca")


def case(i: int, **changes: object) -> dict:
    """A case as /cases gives it: nested objects, days as numbers, keys without a value left out."""
    died = i % 3 == 0
    made = {
        "id": f"uuid-{i:04}",
        "case_id": f"uuid-{i:04}",
        "submitter_id": f"TCGA-{'2F' if i % 2 else '4Z'}-{i:04}",
        "project": {"project_id": "TCGA-BLCA"},
        "demographic": {"vital_status": "Dead" if died else "Alive", "gender": "female" if i % 4 else "male",
                        "age_at_index": 50 + i % 30} | ({"days_to_death": 100 + i} if died else {}),
        "diagnoses": [{"days_to_last_follow_up": 400.0 + i, "ajcc_pathologic_stage": "Stage II", "tumor_grade": "G3",
                       "primary_diagnosis": "Transitional cell carcinoma"}],
        "follow_ups": [{"days_to_follow_up": 500 + i}],
    }  # fmt: skip
    return made | changes


def slide(i: int, number: int = 1) -> dict:
    """A file as /files gives it."""
    name = case(i)["submitter_id"]
    return {
        "id": f"file-{i:04}-{number}", "file_id": f"file-{i:04}-{number}", "file_size": 1000 + i, "state": "released",
        "file_name": f"{name}-01Z-00-DX{number}.{i:08X}.svs", "md5sum": f"{i:032x}",
        "experimental_strategy": "Diagnostic Slide", "cases": [{"submitter_id": name}],
    }  # fmt: skip


class Gdc(ThreadingHTTPServer):
    """Answers searches of `data`; `faults` says what becomes of the n-th request (from 0)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = {"cases": [case(i) for i in range(1, 24)], "files": [slide(i) for i in range(1, 24)]}
        self.faults: dict[int, Callable[[Handler], bool]] = {}
        self.asked: list[tuple[str, dict]] = []
        self.release = "Data Release 42.0 - January 30, 2025"
        self.total: Callable[[int], int] = lambda total: total
        self.warnings: dict = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Gdc  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.respond("status", {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.respond(self.path.strip("/"), body)

    def respond(self, endpoint: str, body: dict) -> None:
        server, number = self.server, len(self.server.asked)
        server.asked.append((endpoint, body))
        if number in server.faults and server.faults[number](self):
            return
        if endpoint == "status":
            self.send({"status": "OK", "data_release": server.release, "version": 1})
            return
        rows = sorted(server.data[endpoint], key=lambda row: row[body["sort"].removesuffix(":asc")])
        start, size = int(body["from"]), int(body["size"])
        hits = rows[start : start + size]
        page = {"count": len(hits), "total": server.total(len(rows)), "size": size, "from": start, "sort": body["sort"],
                "page": start // size + 1, "pages": -(-len(rows) // size)}  # fmt: skip
        self.send({"data": {"hits": hits, "pagination": page}, "warnings": server.warnings})

    def send(self, answer: object, status: int = 200, cut: int = 0, **headers: str) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content[: len(content) - cut])
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def gdc() -> Iterator[Gdc]:
    server = Gdc()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(gdc: Gdc, out: Path, waited: list[float] | None = None, **options: object) -> Fetched:
    api = Api(gdc.url, retries=3, size=10, timeout=0.5, sleep=(waited if waited is not None else []).append)
    return fetch(BLCA, out, api, **options)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def test_a_cohort_becomes_a_data_folder_that_the_readers_read(gdc: Gdc, tmp_path: Path) -> None:
    gdc.data["files"].append(slide(5, 2))
    got = get(gdc, tmp_path)
    assert (got.patients, got.slides, got.events, got.release) == (23, 24, 7, gdc.release)
    labels = read_labels(tmp_path / "blca" / "labels.csv", "blca")
    first = labels.by_id["TCGA-2F-0001"]
    assert (first.time, first.event) == (16.46, False), "501 days, the later of the two contacts"
    assert (labels.by_id["TCGA-2F-0003"].time, labels.by_id["TCGA-2F-0003"].event) == (3.38, True), "103 days to death"
    assert first.covariates == {"age": 51.0, "is_female": 1.0, "stage": "Stage II", "grade": "G3", "site": "2F",
                                "histology": "Transitional cell carcinoma"}  # fmt: skip
    slides, _ = read_manifest(tmp_path / "blca" / "manifest.tsv")
    assert set(slides) == {s for p in labels.patients for s in p.slides}
    assert (tmp_path / "blca" / "manifest.tsv").read_text().startswith("id\tfilename\tmd5\tsize\tstate\n")
    assert set(files(tmp_path / "blca")) == {"labels.csv", "manifest.tsv", "left_out.csv", "fetch.json"}
    assert not (tmp_path / "blca" / ".fetch").exists()


def test_searches_have_the_documented_form(gdc: Gdc, tmp_path: Path) -> None:
    get(gdc, tmp_path)
    endpoints = [endpoint for endpoint, _ in gdc.asked]
    assert endpoints == ["status", *["cases"] * 3, *["files"] * 3]
    question = gdc.asked[1][1]
    assert question["filters"] == {"op": "in", "content": {"field": "project.project_id", "value": ["TCGA-BLCA"]}}
    assert question["format"] == "JSON" and "demographic.days_to_death" in question["fields"].split(",")
    assert [body["from"] for _, body in gdc.asked[1:4]] == ["0", "10", "20"]
    wanted = {part["content"]["field"]: part["content"]["value"] for part in gdc.asked[4][1]["filters"]["content"]}
    assert wanted["experimental_strategy"] == ["Diagnostic Slide"] and wanted["access"] == ["open"]


def test_cases_without_outcome_or_slide_are_listed_with_the_reason(gdc: Gdc, tmp_path: Path) -> None:
    gdc.data["cases"] += [
        case(30, demographic={"vital_status": "Dead"}),
        case(31, demographic={"vital_status": "Not Reported"}),
        case(32, demographic={"vital_status": "Alive"}, diagnoses=[{}], follow_ups=None),
        case(33, demographic={"vital_status": "Dead", "days_to_death": 0}),
        case(34),
    ]
    gdc.data["files"] += [slide(i) for i in (30, 31, 32, 33)] + [slide(99)]
    got = get(gdc, tmp_path)
    with (tmp_path / "blca" / "left_out.csv").open(newline="") as file:
        reasons = {row["case_id"][-2:]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {
        "30": "dead, but days_to_death is missing",
        "31": "vital_status is not reported",
        "32": "alive, but no follow-up has a day",
        "33": "followed for 0 days",
        "34": "no open diagnostic slide",
    }
    assert {f.code: f.count for f in got.findings} == {"cases_left_out": 5, "unmatched_slides": 1}
    assert got.patients == 23


def fail(status: int, **headers: str) -> Callable[[Handler], bool]:
    def answer(handler: Handler) -> bool:
        handler.send({"message": "internal"}, status, **headers)
        return True

    return answer


def truncate(handler: Handler) -> bool:
    handler.send({"data": {"hits": [case(1)] * 9, "pagination": {}}}, cut=200)
    return True


def text_instead(handler: Handler) -> bool:
    handler.send("<html>maintenance</html>")
    return True


def slow(handler: Handler) -> bool:
    time.sleep(0.8)
    handler.close_connection = True
    return True


def hang_up(handler: Handler) -> bool:
    handler.connection.close()
    return True


def wrong_count(handler: Handler) -> bool:
    page = {"count": 10, "total": 23, "size": 10, "from": 0}
    handler.send({"data": {"hits": [case(1)], "pagination": page}, "warnings": {}})
    return True


@pytest.mark.parametrize(
    "fault",
    [fail(500), fail(503), fail(429), truncate, text_instead, slow, hang_up, wrong_count],
    ids=["500", "503", "429", "truncate", "text_instead", "slow", "hang_up", "wrong_count"],
)
def test_faults_that_pass_change_nothing_in_the_files(
    gdc: Gdc, tmp_path: Path, fault: Callable[[Handler], bool]
) -> None:
    get(gdc, tmp_path / "calm")
    gdc.asked.clear()
    gdc.faults = {0: fault, 2: fault, 3: fault, 7: fault}
    waited: list[float] = []
    get(gdc, tmp_path / "rough", waited)
    assert files(tmp_path / "calm" / "blca") == files(tmp_path / "rough" / "blca")
    assert waited == [1, 1, 2, 1], "the second attempt waits a second, the third two"


def test_a_server_that_asks_for_patience_gets_it(gdc: Gdc, tmp_path: Path) -> None:
    gdc.faults = {1: fail(429, Retry_After="7")}
    waited: list[float] = []
    get(gdc, tmp_path, waited)
    assert waited == [7]


def test_an_interrupted_fetch_goes_on_where_it_stopped(gdc: Gdc, tmp_path: Path) -> None:
    gdc.faults = {number: fail(502) for number in range(5, 9)}  # the second page of files, four times
    with pytest.raises(
        DataError, match=r"/files gave no usable answer in 4 attempts: status 502.*What was read is kept"
    ):
        get(gdc, tmp_path)
    assert not files(tmp_path / "blca"), "nothing is written before everything is there"
    gdc.faults, gdc.asked = {}, []
    got = get(gdc, tmp_path)
    assert [(e, b.get("from")) for e, b in gdc.asked] == [("status", None), ("files", "10"), ("files", "20")]
    assert got.patients == 23


def test_a_damaged_page_or_another_release_is_asked_for_again(gdc: Gdc, tmp_path: Path) -> None:
    gdc.faults = {number: fail(502) for number in range(5, 9)}
    with pytest.raises(DataError):
        get(gdc, tmp_path)
    page = sorted((tmp_path / "blca" / ".fetch").iterdir())[0]
    page.write_text(page.read_text().replace("uuid-0001", "uuid-9999").replace("file-0001", "file-9999"))
    gdc.faults, gdc.asked = {}, []
    get(gdc, tmp_path)
    assert len(gdc.asked) == 4, "status, the damaged page, two that were never there"
    gdc.faults, gdc.asked = {number: fail(502) for number in range(5, 9)}, []
    with pytest.raises(DataError):
        get(gdc, tmp_path, refresh=True)
    gdc.faults, gdc.asked, gdc.release = {}, [], "Data Release 43.0"
    assert get(gdc, tmp_path, refresh=True).release == "Data Release 43.0"
    assert len(gdc.asked) == 7


@pytest.mark.parametrize(
    ("total", "message"),
    [
        (lambda n: n + 5, "gave 23 hits where it promised 28"),
        (lambda n: n - 5, "gave 20 hits where it promised 18"),
    ],
)
def test_wrong_totals_are_refused_and_leave_nothing(
    gdc: Gdc, tmp_path: Path, total: Callable[[int], int], message: str
) -> None:
    gdc.total = total
    with pytest.raises(DataError, match=message):
        get(gdc, tmp_path)
    assert not files(tmp_path / "blca")
    gdc.total = lambda n: n
    assert get(gdc, tmp_path).patients == 23, "what contradicted itself was not kept"


def test_data_that_change_while_they_are_read_are_refused(gdc: Gdc, tmp_path: Path) -> None:
    def grow(handler: Handler) -> bool:
        gdc.data["cases"].insert(0, case(0, case_id="uuid-0000"))
        return False

    gdc.faults = {2: grow}
    with pytest.raises(DataError, match=r"changed while it was read \(23 hits, now 24\): try again"):
        get(gdc, tmp_path)
    gdc.faults = {}
    assert get(gdc, tmp_path).release == gdc.release


def test_a_refusal_is_not_repeated_and_says_what_the_server_said(gdc: Gdc, tmp_path: Path) -> None:
    gdc.faults = {1: fail(400)}
    with pytest.raises(DataError, match=r"/cases refuses: status 400 .*internal"):
        get(gdc, tmp_path)
    assert len(gdc.asked) == 2


def test_what_is_there_is_not_fetched_again_and_damage_is_noticed(gdc: Gdc, tmp_path: Path) -> None:
    get(gdc, tmp_path)
    before, gdc.asked = files(tmp_path / "blca"), []
    assert get(gdc, tmp_path).already and not gdc.asked
    with (tmp_path / "blca" / "labels.csv").open("a") as file:
        file.write("oops\n")
    with pytest.raises(DataError, match=r"labels\.csv is not as it was fetched .*--refresh"):
        get(gdc, tmp_path)
    assert not get(gdc, tmp_path, refresh=True).already
    assert files(tmp_path / "blca") == before


def test_files_of_the_user_stay_as_they_are(gdc: Gdc, tmp_path: Path) -> None:
    (tmp_path / "blca").mkdir()
    (tmp_path / "blca" / "labels.csv").write_text("mine")
    with pytest.raises(DataError, match="was not fetched: move it away"):
        get(gdc, tmp_path)
    assert (tmp_path / "blca" / "labels.csv").read_text() == "mine" and not gdc.asked


def test_warnings_of_the_api_are_passed_on(gdc: Gdc, tmp_path: Path) -> None:
    gdc.warnings = {"fields": "unrecognized values: [demographic.gender]"}
    (found,) = [f for f in get(gdc, tmp_path).findings if f.code == "api_warnings"]
    assert "demographic.gender" in found.examples[0]


def test_only_addresses_of_the_web_are_asked() -> None:
    with pytest.raises(DataError, match="not the address of an API"):
        Api("file:///etc")


def test_nobody_listens(tmp_path: Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as free:
        port = free.server_address[1]
    with pytest.raises(DataError, match=r"no usable answer in 2 attempts: .*refused"):
        fetch(BLCA, tmp_path, Api(f"http://127.0.0.1:{port}", retries=1, sleep=lambda _: None))
