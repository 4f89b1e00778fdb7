"""What integration tests look at: the journal of the plane, and functions that write down what they were given."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from testbed import deploy
from testbed.scenario import Aws

_RECORDER = """\
import json, os, time

def record(event, context):
    line = {
        "event": event,
        "request_id": context.aws_request_id,
        "version": context.function_version,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "at": time.time(),
    }
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(json.dumps(line) + "\\n")
"""


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    """Look every 20 ms until ``condition`` holds; fail with ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.02)


def unique(name: str) -> str:
    """A name that nobody else in the shared engine has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON documents that somebody else is writing; none where there is no file yet."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class JournalReader:
    """What the plane records while a test runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self, hop: str, **fields: object) -> list[dict[str, Any]]:
        """The lines of ``hop`` written so far whose ``fields`` are as given."""
        return [line for line in read_lines(self._path) if line["hop"] == hop and fields.items() <= line.items()]

    def wait_for(self, hop: str, *, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        """Those lines, as soon as there are ``count`` of them; the plane flushes four times a second."""
        wait_until(lambda: len(self.lines(hop, **fields)) >= count, f"{count} lines of hop {hop!r} with {fields}")
        return self.lines(hop, **fields)


@dataclass(frozen=True)
class RecordingFunction:
    """A deployed function that writes down every event before it does anything else."""

    aws: Aws
    name: str
    arn: str
    seen: Path

    def records(self) -> list[dict[str, Any]]:
        """What it has written down: ``event``, ``request_id``, ``version``, ``trace``, ``at``."""
        return read_lines(self.seen)

    def events(self) -> list[Any]:
        """The events it was invoked with, in the order of their invokes."""
        return [record["event"] for record in self.records()]

    def wait_for_events(self, count: int = 1) -> list[Any]:
        """Those events, as soon as there are ``count`` of them."""
        wait_until(lambda: len(self.events()) >= count, f"{count} invokes of {self.name}")
        return self.events()

    def invoke(self, event: object = None, **options: Any) -> Any:
        """Invoke it directly; the payload of the answer."""
        answer = self.aws.client("lambda").invoke(FunctionName=self.name, Payload=json.dumps(event), **options)
        return json.loads(answer["Payload"].read() or b"null")


def package_of(folder: Path, body: str) -> bytes:
    """The deployment package of a function that records its event and then does ``body``."""
    folder.mkdir(exist_ok=True)
    handler = "from recorder import record\n\ndef handler(event, context):\n    record(event, context)\n"
    (folder / "handler.py").write_text(handler + indent(dedent(body), "    ") + "\n")
    (folder / "recorder.py").write_text(_RECORDER)
    return deploy.package(folder)


def deploy_recording_function(
    aws: Aws, folder: Path, body: str, *, environment: Mapping[str, str] | None = None, **options: Any
) -> RecordingFunction:
    """Deploy a function that records its event and then does ``body``; see `deploy.function` for ``options``."""
    name = unique("recording")
    package_of(folder / name, body)
    seen = folder / f"{name}.jsonl"
    variables = {"SEEN": str(seen), **(environment or {})}
    arn = deploy.function(aws, name, folder / name, "handler.handler", environment=variables, **options)
    return RecordingFunction(aws, name, arn, seen)
