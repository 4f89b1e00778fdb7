"""The Runtime API on the wire."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from testbed.compute.runtime_api import Invocation, RuntimeApi


class Runtime:
    """Has one invocation, and knows one request id."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes]] = []

    async def next(self) -> Invocation | None:
        return Invocation("r-1", b'{"id": 7}', "arn:aws:lambda", 1234, "Root=1-2-3", '{"client": {}}')

    def respond(self, request_id: str, body: bytes) -> bool:
        self.said.append((request_id, body))
        return request_id == "r-1"

    fail = respond

    def fail_init(self, body: bytes) -> bool:
        self.said.append(("init", body))
        return True


async def exchange(api: RuntimeApi, method: str, path: str, body: bytes = b"") -> bytes:
    """Send one request and read once: whatever arrives first."""
    host, port = api.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    received = await reader.read(1 << 20)
    writer.close()
    await writer.wait_closed()
    return received


async def test_an_invocation_is_answered_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and body leave together: in two writes, the second would wait for a delayed acknowledgement."""
    writes: list[bytes] = []
    transport = asyncio.selector_events._SelectorSocketTransport
    write, writelines = transport.write, transport.writelines

    def spy(self: Any, data: bytes) -> None:
        writes.append(bytes(data))
        write(self, data)

    def spy_lines(self: Any, lines: Iterable[bytes]) -> None:
        joined = [bytes(line) for line in lines]
        writes.append(b"".join(joined))
        writelines(self, joined)

    api = RuntimeApi()
    await api.start()
    api.runtimes["env-1"] = Runtime()
    monkeypatch.setattr(transport, "write", spy)
    monkeypatch.setattr(transport, "writelines", spy_lines)
    answer = await exchange(api, "GET", "/env-1/2018-06-01/runtime/invocation/next")
    monkeypatch.undo()
    await api.stop()
    assert len(writes) == 2  # the request of this test, and its answer
    assert writes[1] == answer
    assert answer.endswith(b'\r\n\r\n{"id": 7}')
    for header in (
        b"Lambda-Runtime-Aws-Request-Id: r-1",
        b"Lambda-Runtime-Deadline-Ms: 1234",
        b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda",
        b"Lambda-Runtime-Trace-Id: Root=1-2-3",
        b'Lambda-Runtime-Client-Context: {"client": {}}',
    ):
        assert header in answer


async def test_reports_reach_the_environment_of_their_path_and_no_other() -> None:
    """Known ids are accepted with 202, unknown ones, environments and paths each refused with a status of their own."""
    api, runtime = RuntimeApi(), Runtime()
    await api.start()
    api.runtimes["env-1"] = runtime
    base = "/env-1/2018-06-01/runtime"
    statuses = []
    for method, path in [
        ("POST", f"{base}/invocation/r-1/response"),
        ("POST", f"{base}/invocation/r-1/error"),
        ("POST", f"{base}/init/error"),
        ("POST", f"{base}/invocation/r-2/response"),
        ("POST", f"{base}/nonsense"),
        ("GET", "/env-2/2018-06-01/runtime/invocation/next"),
        ("GET", "/env-1"),
    ]:
        answer = await exchange(api, method, path, b"body" if method == "POST" else b"")
        statuses.append(int(answer.split()[1]))
    await api.stop()
    assert statuses == [202, 202, 202, 400, 404, 403, 403]
    assert runtime.said == [("r-1", b"body"), ("r-1", b"body"), ("init", b"body"), ("r-2", b"body")]
