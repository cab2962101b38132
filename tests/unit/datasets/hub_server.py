"""A dataset hub on this machine: the listing, the metadata and the ranges that its clients ask for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """Serves `files` as the dataset `name`; a file is cut off after `break_after` bytes, `breaks` times."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.files = name, files
        self.break_after, self.breaks = 0, 0
        self.requests: list[tuple[str, str, str]] = []  # method, path, range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fetched(self) -> list[str]:
        """Ranges of the files that were asked for."""
        return [span for method, path, span in self.requests if method == "GET" and "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def _entry(self, path: str) -> dict[str, Any]:
        data = self.server.files[path]
        return {"type": "file", "path": path, "size": len(data), "oid": sha256(data).hexdigest()[:40]}

    def _route(self) -> None:
        path, span = self.path.partition("?")[0], self.headers.get("Range", "")
        self.server.requests.append((self.command, path, span))
        name = self.server.name
        if path.startswith(f"/api/datasets/{name}/tree/"):
            self._json([self._entry(path) for path in sorted(self.server.files)])
        elif path.startswith(f"/api/datasets/{name}/paths-info/"):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = [p for p in self.server.files if p in text.replace("%2F", "/")]
            self._json([self._entry(p) for p in asked])
        elif path.startswith(f"/api/datasets/{name}"):
            self._json({"id": name, "sha": COMMIT, "siblings": []})
        elif match := re.fullmatch(f"/datasets/{name}/resolve/[^/]+/(.*)", path):
            self._file(match[1], span)
        else:
            self._answer(404, b"{}", X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")

    do_GET = do_HEAD = do_POST = _route  # noqa: N815

    def _file(self, name: str, span: str) -> None:
        data = self.server.files[name]
        first, last = 0, len(data) - 1
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", span):
            first, last = int(match[1]), min(int(match[2] or last), last)
        body = data[first : last + 1]
        self.send_response(206 if span else 200)
        self.send_header("ETag", f'"{sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.breaks and len(body) > self.server.break_after:
            self.server.breaks -= 1
            body = body[: self.server.break_after]
            self.close_connection = True
        self.wfile.write(body)


@contextmanager
def serving(name: str, files: dict[str, bytes]) -> Iterator[Hub]:
    """A hub that answers within this context."""
    with Hub(name, files) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
