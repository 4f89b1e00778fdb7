"""Which engine it becomes."""

from types import SimpleNamespace
from typing import Any

import pytest

from testbed import engine
from testbed.engine import choose_launcher
from testbed.engine.docker_host import NoDockerError
from testbed.errors import HarnessError, TestbedError, UsageError


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An engine that is there and has the images, until a test says otherwise."""
    fake = SimpleNamespace(there=True, answers=None, images=None, asked=0)

    async def reach() -> str:
        fake.asked += 1
        if fake.answers:
            raise fake.answers
        return "host"

    def containers(host: str, _: object) -> Any:
        assert host == "host"
        if fake.images:
            raise fake.images
        return SimpleNamespace(mode="container")

    monkeypatch.setattr(engine, "may_be_there", lambda: fake.there)
    monkeypatch.setattr(engine, "reach", reach)
    monkeypatch.setattr(engine, "_containers", containers)
    return fake


@pytest.mark.parametrize(("asked", "mode"), [("auto", "container"), ("container", "container"), ("process", "process")])
async def test_containers_where_docker_has_the_images(docker: Any, asked: str, mode: str) -> None:
    """Unless child processes are asked for; then nobody asks Docker."""
    assert (await choose_launcher(asked, pytest.fail)).mode == mode
    assert docker.asked == (mode == "container")


async def test_without_docker_nobody_asks(docker: Any) -> None:
    """It would cost time on every machine that has none."""
    docker.there = False
    assert (await choose_launcher("auto", pytest.fail)).mode == "process"
    assert docker.asked == 0


async def test_a_docker_that_does_not_answer_is_no_news(docker: Any) -> None:
    """For auto: the socket of a service that is stopped is there on many machines."""
    docker.answers = NoDockerError("no Docker engine answers")
    assert (await choose_launcher("auto", pytest.fail)).mode == "process"


@pytest.mark.parametrize("refusal", [HarnessError("the image x is not here"), UsageError("the image x needs a token")])
async def test_images_that_cannot_be_had_are_told(docker: Any, refusal: TestbedError) -> None:
    """One line says why it became child processes."""
    docker.images = refusal
    told: list[str] = []
    assert (await choose_launcher("auto", told.append)).mode == "process"
    assert told == [f"child processes instead of containers: {refusal.message}"]


@pytest.mark.parametrize("failing", ["answers", "images"])
async def test_containers_that_were_asked_for_are_not_replaced(docker: Any, failing: str) -> None:
    """The run fails with the reason."""
    refusal = NoDockerError("no Docker engine answers") if failing == "answers" else UsageError("needs a token")
    setattr(docker, failing, refusal)
    with pytest.raises(type(refusal), match=refusal.message):
        await choose_launcher("container", pytest.fail)
