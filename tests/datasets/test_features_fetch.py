"""bench features fetch against a server on this machine that answers as the hub does, faults included."""

import hashlib
import io
import json
import re
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
from milsurv.datasets import cohorts
from milsurv.datasets.features import hub
from milsurv.datasets.features.known_sets import KNOWN_SETS
from milsurv.datasets.features.opening import open_features
from milsurv.errors import DataError, UsageError

COMMIT = "1" * 40
BRCA = cohorts.get("brca")


class Hub(ThreadingHTTPServer):
    """One data set: `files` by path. `gated`, `cut` (bytes after which a download breaks once), `spoil` are faults."""

    daemon_threads = True

    def __init__(self, repository: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository, self.files = repository, files
        self.gated = False
        self.cut: int | None = None
        self.spoil: str | None = None
        self.sent: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if hub.repository not in path:
            return self.json({"error": "Repository not found"}, 401, "RepoNotFound")
        if (tree := re.search(r"/tree/[^/]+/?(.*)$", path)) and path.startswith("/api/"):
            return self.tree(tree[1])
        if path.startswith("/api/datasets/"):
            return self.json({"id": hub.repository, "sha": COMMIT, "gated": "auto", "private": False, "siblings": []})
        if hub.gated and "Authorization" not in self.headers:
            return self.json({"error": "Access to dataset is restricted"}, 401, "GatedRepo")
        name = re.sub(r".*/resolve/[^/]+/", "", path)
        if name not in hub.files:
            return self.json({"error": "Entry not found"}, 404, "EntryNotFound")
        return self.file(name)

    def file(self, name: str) -> None:
        content, hub = self.server.files[name], self.server
        wanted = self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        body = content[first:]
        self.send_response(206 if wanted else 200)
        digest = hashlib.sha256(content).hexdigest()
        for key, value in {
            "X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": len(content), "Content-Length": len(body), "Accept-Ranges": "bytes",
        }.items():  # fmt: skip
            self.send_header(key, str(value))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        hub.sent.append((name, wanted))
        if hub.spoil == name:
            body = bytes(len(body))
        if hub.cut is not None:
            body, hub.cut = body[: hub.cut], None
            self.close_connection = True
        self.wfile.write(body)
        self.wfile.flush()

    def tree(self, folder: str) -> None:
        start = f"{folder}/" if folder else ""
        inside = {name.removeprefix(start).partition("/")[0] for name in self.server.files if name.startswith(start)}
        if not inside:
            return self.json({"error": "Entry not found"}, 404, "EntryNotFound")
        found = []
        for one in sorted(inside):
            path = start + one
            if (content := self.server.files.get(path)) is None:
                found.append({"type": "directory", "oid": "0" * 40, "size": 0, "path": path})
                continue
            git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
            lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            large = {"lfs": lfs} if not path.endswith(".json") else {}
            found.append({"type": "file", "oid": git, "size": len(content), "path": path} | large)
        return self.json(found)

    def json(self, content: object, status: int = 200, code: str | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def h5(seed: int) -> bytes:
    """A file of MahmoodLab's set: (1, N, 1536) features and (1, N, 2) coordinates, no attributes."""
    out = io.BytesIO()
    rng = np.random.default_rng(seed)
    with h5py.File(out, "w") as file:
        file["features"] = rng.normal(size=(1, 5, 1536)).astype(np.float32)
        file["coords"] = np.stack([np.arange(5) * 512, np.zeros(5, int)], 1)[None]
    return out.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def start(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


@pytest.fixture
def uni(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The set of UNI2-h features: an archive a project, BRCA in two."""
    monkeypatch.setenv("MILSURV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    files = {
        f"TCGA/{name}.tar.gz": packed({f"{name}/TCGA-{k}-DX1.U.h5": h5(k) for k in slides})
        for name, slides in {"TCGA-ACC": (1,), "TCGA-BRCA_IDC": (2, 3), "TCGA-BRCA_OTHERS": (4,)}.items()
    }
    server = start(Hub("MahmoodLab/UNI2-h-features", files | {"README.md": b"x"}), monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


def test_the_archives_of_a_cohort_are_fetched_and_read_as_one(uni: Hub, tmp_path: Path) -> None:
    planned = hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path / "features")
    assert [f.path for f in planned.files] == ["TCGA/TCGA-BRCA_IDC.tar.gz", "TCGA/TCGA-BRCA_OTHERS.tar.gz"]
    assert planned.missing == planned.size == sum(len(uni.files[f.path]) for f in planned.files)
    folder = hub.fetch(planned)
    with pytest.warns(UserWarning, match="unpacking"):
        reader = open_features(folder)
    assert (len(reader.slides), reader.backbone, reader.magnifications) == (3, "uni2-h", (20,))
    again = hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path / "features")
    sent = list(uni.sent)
    assert again.missing == 0 and hub.fetch(again) == folder and uni.sent == sent  # nothing is sent twice


def test_a_broken_download_goes_on_where_it_stopped(uni: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 256)  # what is written at once
    planned = hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path)
    uni.cut = 1000
    hub.fetch(planned)
    assert uni.sent[1] == (planned.files[0].path, "bytes=768-"), uni.sent
    assert all((planned.folder / f.path).read_bytes() == uni.files[f.path] for f in planned.files)


def test_what_comes_damaged_is_refused_by_its_checksum_and_fetched_again(uni: Hub, tmp_path: Path) -> None:
    planned = hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path)
    uni.spoil = planned.files[0].path
    with pytest.raises(DataError, match=r"TCGA-BRCA_IDC\.tar\.gz came damaged.*Run the command again"):
        hub.fetch(planned)
    assert not (planned.folder / planned.files[0].path).exists()
    uni.spoil = None
    hub.fetch(planned)
    assert (planned.folder / planned.files[0].path).read_bytes() == uni.files[planned.files[0].path]


def test_terms_that_were_not_accepted_are_explained(uni: Hub, tmp_path: Path, bench) -> None:
    uni.gated = True
    status, _, err = bench("features", "fetch", "uni2-h", "--cohort", "brca", "--out", tmp_path)
    assert status == 1
    text = " ".join(err.split())
    assert "is gated: accept its terms" in text and "hf auth login" in text and "HF_TOKEN" in text


def test_the_command_says_first_what_it_needs(uni: Hub, tmp_path: Path, bench) -> None:
    status, out, err = bench("features", "fetch", "uni2-h", "--cohort", "brca", "--out", tmp_path, "--dry-run")
    said = " ".join((out + err).split())
    assert status == 0 and "2 files of brca" in said and "to fetch into" in said and "are archives" in said
    assert not list(tmp_path.rglob("*.tar.gz"))
    status, out, _ = bench("features", "fetch", "uni2-h", "--cohort", "brca", "--out", tmp_path, "--json")
    assert status == 0 and json.loads(out)["fetched"] is True
    status, _, err = bench("features", "fetch", "uni3", "--cohort", "brca")
    assert status == 2 and "uni2-h" in err


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    uni: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RESERVE", 1 << 62)
    with pytest.raises(DataError, match=r"2 files of brca need .* free\. Choose another folder with --out"):
        hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path)
    assert not uni.sent


def test_a_set_that_lacks_the_cohort_and_a_hub_that_is_away_are_said(
    uni: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="holds no files of luad"):
        hub.plan(KNOWN_SETS["uni2-h"], cohorts.get("luad"), tmp_path)
    with pytest.raises(DataError, match="is not on the hub, or not open to this account"):
        hub.plan(KNOWN_SETS["uni2-h-open"], BRCA, tmp_path)
    with pytest.raises(UsageError, match="several encoders: choose one with --backbone uni, gigap"):
        hub.plan(KNOWN_SETS["cpath"], BRCA, tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"could not be fetched .*run the command again: it goes on"):
        hub.plan(KNOWN_SETS["uni2-h"], BRCA, tmp_path)


def test_folders_by_encoder_are_fetched_by_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    names = ("TCGA-BRCA/uni/pt_files/a.pt", "TCGA-BRCA/gigap/pt_files/a.pt", "TCGA-BRCA/patches/a.h5",
             "TCGA-LUAD/uni/pt_files/b.pt")  # fmt: skip
    server = start(Hub("Dearcat/CPathPatchFeature", {name: name.encode() for name in names}), monkeypatch)
    planned = hub.plan(KNOWN_SETS["cpath"], BRCA, tmp_path, "gigap")
    assert [f.path for f in planned.files] == ["TCGA-BRCA/gigap/pt_files/a.pt", "TCGA-BRCA/patches/a.h5"]
    server.shutdown()
    server.server_close()
