"""LocalStack's environment, and what the wait for it makes of the answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from testbed.engine import localstack
from testbed.engine.installation import Installation
from testbed.engine.localstack import Plane, _environment, wait_until_ready
from testbed.errors import EngineDiedError

PLUGIN, OWN = "/_testbed/plugin/health", "/_localstack/health"


def child(*, running: bool = True, **more: Any) -> Any:
    return SimpleNamespace(running=running, **more)


@pytest.fixture
async def answers() -> AsyncIterator[tuple[str, dict[str, dict[str, Any]]]]:
    """A server's URL, and the documents it answers by path."""
    documents: dict[str, dict[str, Any]] = {}

    async def answer(request: web.Request) -> web.Response:
        found = documents.get(request.path)
        return web.json_response(found, status=200 if found is not None else 404)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/"), documents


def test_nothing_of_the_user_reaches_localstack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither AWS settings nor PYTHONPATH, home or configuration of LocalStack's own."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "PYTHONPATH", "DEBUG", "HTTP_PROXY", "HOME"):
        monkeypatch.setenv(name, "the user's")
    space: Any = SimpleNamespace(folder=tmp_path)
    installed = Installation("4.9.2", Path("python"), "3.11", tmp_path / "installed")
    environment = _environment(space, installed, Plane("http://127.0.0.1:9", "t", "127.0.0.1:4000"), 4566)
    assert "the user's" not in environment.values()
    assert environment["LOCALSTACK_HOST"] == "127.0.0.1:4000"
    assert environment["GATEWAY_LISTEN"] == "127.0.0.1:4566"
    assert (Path(environment["PYTHONPATH"]) / "serverless_testbed_plugin" / "start.py").exists()


async def test_ready_is_the_plugin_with_its_services_loaded(answers: tuple[str, dict[str, dict[str, Any]]]) -> None:
    """LocalStack's own health is not enough, and is not asked for."""
    url, documents = answers
    documents[PLUGIN] = {"warm": True}
    assert await wait_until_ready(child(), url) is None


async def test_localstack_may_come_up_between_two_questions() -> None:
    """Nobody answered for the plugin, then LocalStack says that it is healthy: the plugin is asked again."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"warm": True}, status=404 if len(asked) == 1 else 200)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with TestServer(application) as server:
        assert await wait_until_ready(child(), str(server.make_url("")).rstrip("/")) is None
    assert asked == [PLUGIN, OWN, PLUGIN]


async def test_a_plugin_that_did_not_load_fails_the_start(answers: tuple[str, dict[str, dict[str, Any]]]) -> None:
    """LocalStack only logs the error of a plugin and goes on; the start must not."""
    url, documents = answers
    documents[OWN] = {"services": {}}
    assert await wait_until_ready(child(), url) == "started without the testbed's plugin"


async def test_a_service_that_does_not_load_fails_the_start(answers: tuple[str, dict[str, dict[str, Any]]]) -> None:
    """The plugin says what went wrong."""
    url, documents = answers
    documents[PLUGIN] = {"warm": False, "error": "ImportError('x')"}
    assert await wait_until_ready(child(), url) == "could not load its services: ImportError('x')"


async def test_the_end_of_the_process_ends_the_wait() -> None:
    """Nobody waits for a process that is gone."""
    ended = child(running=False, death=lambda: EngineDiedError("LocalStack", "was killed by SIGKILL"))
    assert await wait_until_ready(ended, "http://127.0.0.1:9") == "was killed by SIGKILL while it started"


async def test_the_wait_has_an_end(
    answers: tuple[str, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A LocalStack that never gets warm is given up."""
    url, documents = answers
    documents[PLUGIN] = {"warm": False, "error": None}
    monkeypatch.setattr(localstack, "_READY_SECONDS", 0.01)
    assert (await wait_until_ready(child(), url) or "").startswith("was not ready within")
