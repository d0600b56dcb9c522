"""A hub of models on this machine: as much of its protocol as pushing and pulling a folder takes."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SHA = "0" * 40


class _Hub(BaseHTTPRequestHandler):
    repositories: dict[str, dict[str, bytes]]

    def log_message(self, *_: object) -> None:
        pass

    def _say(self, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            name = json.loads(body)
            name = f"{name.get('organization') or 'me'}/{name['name']}"
            self.repositories.setdefault(name, {})
            self._say({"url": f"http://{self.headers['Host']}/{name}", "name": name, "id": name})
        elif path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            self._say({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.repositories[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._say({"commitUrl": f"http://{self.headers['Host']}/{found[1]}/commit/{SHA}", "commitOid": SHA})
        else:
            self._say({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/.+|/api/models/([^/]+/[^/]+)", path):
            name = found[1] or found[2]
            if name not in self.repositories:
                self.send_error(404)
                return
            siblings = [{"rfilename": file} for file in self.repositories[name]]
            self._say({"id": name, "modelId": name, "sha": SHA, "private": True, "siblings": siblings})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+.*", path):
            files = self.repositories.get(found[1], {})
            self._say(
                [{"type": "file", "path": p, "size": len(d), "oid": sha256(d).hexdigest()} for p, d in files.items()]
            )
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            data = self.repositories.get(found[1], {}).get(found[2])
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", SHA)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)
        else:
            self.send_error(404)

    do_HEAD = do_GET


@contextmanager
def hub() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Its address, and what its repositories hold."""
    repositories: dict[str, dict[str, bytes]] = {}
    handler = type("Hub", (_Hub,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
