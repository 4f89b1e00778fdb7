"""A Docker engine that answers from memory, on a Unix socket."""

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = {"Version": "28.2.2", "ApiVersion": "1.41", "MinAPIVersion": "1.24"}


@dataclass
class FakeDocker:
    """What it has, and what it was asked.

    Attributes:
        containers: Labels of each container, by id.
        images: Names.
        bridge: The addresses of its default network.
        pull: Events that it answers a pull with.
        appear: Containers that come up one by one, each after a listing.
        stuck: How many containers it will not remove, as they are being removed already.
        asked: Methods and paths of the requests.
        host: Its DOCKER_HOST.
    """

    containers: dict[str, dict[str, str]] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    bridge: dict[str, str] = field(default_factory=lambda: {"Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1"})
    pull: list[dict[str, Any]] = field(default_factory=list)
    appear: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stuck: int = 0
    asked: list[str] = field(default_factory=list)
    host: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and document of an answer."""
        self.asked.append(f"{method} {path}")
        image = path.removeprefix("/images/").removesuffix("/json")
        bridge = {"Id": "bridge", "Name": "bridge", "IPAM": {"Config": [self.bridge]}}
        documents = {
            "/version": VERSION,
            "/networks": [],
            "/networks/bridge": bridge,
            "/images/create": self.pull,
            **({path: {"Id": image}} if image in self.images else {}),
        }
        if path in documents:
            return 200, documents[path]
        if method == "DELETE" and self.stuck:
            self.stuck -= 1
            return 409, {"message": "removal is already in progress"}
        if path == "/containers/json":
            return 200, self._listed(json.loads(query["filters"][0])["label"])
        if method == "DELETE" and self.containers.pop(path.removeprefix("/containers/"), None) is not None:
            return 204, None
        return 404, {"message": f"no such thing: {path}"}

    def _listed(self, wanted: list[str]) -> list[dict[str, str]]:
        labels = dict(label.split("=") for label in wanted)
        found = [{"Id": name} for name, own in self.containers.items() if labels.items() <= own.items()]
        if self.appear:
            name, own = self.appear.pop(0)
            self.containers[name] = own
        return found

    @contextmanager
    def listening(self, socket: Path) -> Iterator["FakeDocker"]:
        """Answers there until the body ends."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                url = urlsplit(self.path)
                path = re.sub(r"^/v[\d.]+", "", url.path)
                status, document = fake.answer(self.command, path, parse_qs(url.query))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if path == "/images/create":
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for event in [*map(json.dumps, document), ""]:
                        self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
                    return
                body = b"" if document is None else json.dumps(document).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = handle_one  # noqa: N815 - the base class calls them so

            def address_string(self) -> str:
                return "unix"

            def log_message(self, *_: Any) -> None:
                """Be silent."""

        with socketserver.ThreadingUnixStreamServer(str(socket), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            self.host = f"unix://{socket}"
            yield self
            server.shutdown()
