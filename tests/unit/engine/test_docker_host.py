"""The Docker engine: found, given up, asked for its network and its images."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import DockerException
from fake_docker import FakeDocker

from testbed.engine import docker_host
from testbed.engine.docker_host import (
    DockerHost,
    NoDockerError,
    PullProgress,
    explain,
    may_be_there,
    own_address,
    reach,
)
from testbed.errors import HarnessError


@pytest.fixture(autouse=True)
def no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without settings, and no engine."""
    monkeypatch.setattr(docker_host, "_SOCKET", tmp_path / "docker.sock")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """An engine that answers, and is meant."""
    with FakeDocker().listening(tmp_path / "fake.sock") as fake:
        monkeypatch.setenv("DOCKER_HOST", fake.host)
        yield fake


@pytest.fixture
async def host(engine: FakeDocker) -> DockerHost:
    assert not engine.asked
    return await reach()


def test_nothing_points_at_an_engine() -> None:
    """Then nobody has to ask."""
    assert not may_be_there()


@pytest.mark.parametrize("where", ["DOCKER_HOST", "DOCKER_CONTEXT", "context", "properties", "socket"])
def test_whatever_points_at_an_engine_is_worth_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The variables, a context that was chosen, Testcontainers' properties, and the usual socket."""
    if where.startswith("DOCKER"):
        monkeypatch.setenv(where, "something")
    elif where == "context":
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "rootless"}')
    else:
        (tmp_path / {"properties": ".testcontainers.properties", "socket": "docker.sock"}[where]).touch()
    assert may_be_there()


async def test_an_engine_that_is_not_there_is_named() -> None:
    """With the reason of the system."""
    with pytest.raises(NoDockerError, match=r"no Docker engine answers at unix:///.*docker.sock: No such file"):
        await reach()


async def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and answers nothing."""
    monkeypatch.setattr(docker_host, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker.sock"))
        silent.listen()
        with pytest.raises(NoDockerError, match="no Docker engine answers"):
            await reach()


async def test_an_engine_on_another_machine_cannot_be_used(engine: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its containers would not find this one."""
    monkeypatch.setattr("testcontainers.core.docker_client.DockerClient.host", lambda _: "build.example")
    with pytest.raises(HarnessError, match=r"another machine \(build.example\)") as refused:
        await reach()
    assert not isinstance(refused.value, NoDockerError)
    assert "GET /version" in engine.asked


async def test_the_host_knows_version_and_ways(host: DockerHost) -> None:
    """The own address is the one in the network of the containers."""
    assert host.version == "28.2.2"
    assert host.ways.own_address == "127.0.0.1"
    assert host.ways.published_at == "127.0.0.1"
    host.close()


async def test_under_docker_desktop_there_is_no_own_address(engine: FakeDocker) -> None:
    """The containers' network is in a machine of its own."""
    engine.bridge = {"Subnet": "203.0.113.0/24"}
    found = await reach()
    assert found.ways.own_address is None
    found.close()


@pytest.mark.parametrize(
    ("subnet", "towards", "own"),
    [("127.0.0.0/8", "127.0.0.2", True), ("203.0.113.0/24", "127.0.0.1", False), ("0.0.0.0/0", "no address", False)],
)
def test_the_own_address_lies_in_the_network(subnet: str, towards: str, own: bool) -> None:
    """An address of another interface would be open to others."""
    assert (own_address(ipaddress.IPv4Network(subnet), towards) is not None) == own


async def test_an_image_that_is_here_is_not_pulled(host: DockerHost, engine: FakeDocker) -> None:
    """Not even asked for in the registry."""
    engine.images.add("postgres:16")
    host.ensure("postgres:16", pytest.fail)
    assert "POST /images/create" not in engine.asked
    host.close()


async def test_an_image_that_is_not_here_is_pulled(host: DockerHost, engine: FakeDocker) -> None:
    """And told so."""
    told: list[str] = []
    host.ensure("postgres:16", told.append)
    assert told == ["pulling postgres:16"]
    assert "POST /images/create" in engine.asked
    host.close()


async def test_a_pull_that_fails_is_told_with_the_registrys_reason(host: DockerHost, engine: FakeDocker) -> None:
    """Docker answers with status 200 and says it in the stream."""
    engine.pull = [{"status": "Pulling"}, {"error": "manifest unknown"}]
    with pytest.raises(HarnessError, match="image postgres:16 is not here and cannot be pulled: manifest unknown"):
        host.ensure("postgres:16", lambda _: None)
    host.close()


async def test_containers_with_the_labels_are_removed(host: DockerHost, engine: FakeDocker) -> None:
    """Only those; one that somebody else is removing is waited for."""
    engine.containers = {"a": {"run": "1"}, "b": {"run": "2"}, "c": {"run": "1", "part": "x"}}
    engine.stuck = 2
    host.remove({"run": "1"})
    assert engine.containers == {"b": {"run": "2"}}
    host.close()


async def test_containers_that_stay_are_no_success(
    host: DockerHost, engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's refusal goes to the caller when it lasts."""
    monkeypatch.setattr(docker_host, "_REMOVE_SECONDS", 0.2)
    engine.containers, engine.stuck = {"a": {"run": "1"}}, 1000
    with pytest.raises(DockerException, match="already in progress"):
        host.remove({"run": "1"})
    host.close()


def test_progress_of_a_pull_is_the_share_of_bytes_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all layers that are known; nothing between the seconds."""
    now = 0.0
    monkeypatch.setattr("testbed.engine.docker_host.time.monotonic", lambda: now)
    told: list[str] = []
    progress = PullProgress("postgres:16", told.append)

    def layer(name: str, current: int) -> None:
        detail = {"current": current, "total": 100}
        progress.take({"status": "Downloading", "id": name, "progressDetail": detail})

    layer("a", 20)
    now = 1.0
    layer("b", 40)
    layer("b", 50)
    now = 2.5
    progress.take({"status": "Download complete", "id": "a", "progressDetail": {}})
    assert told == ["pulling postgres:16", "pulling postgres:16: 30 %", "pulling postgres:16: 75 %"]


def test_what_the_sdk_wraps_is_explained_by_its_core() -> None:
    """Not by the layers of exceptions around it."""
    wrapped = RuntimeError("Error while fetching", RuntimeError("aborted", PermissionError(13, os.strerror(13))))
    assert explain(wrapped) == "Permission denied"
    assert explain(ValueError("bad port")) == "bad port"
