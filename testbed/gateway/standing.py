"""A plane that stands, as in docker-compose.yml: for whoever comes, with an engine that somebody else has started.

Its settings are environment variables:

* ``TESTBED_EMULATOR_URL``: LocalStack, with the testbed's plugin.
* ``TESTBED_POSTGRES_DSN``: Postgres, as its superuser.
* ``TESTBED_TOKEN``: what the plugin and ``testbed run`` say who they are with.
* ``TESTBED_LISTEN``: the gateway's address and port, ``127.0.0.1:4566`` unless given. Clients and functions know it as
  127.0.0.1 with this port, so a container must publish the very same port.
* ``TESTBED_POSTGRES_LISTEN``: the same for the way to Postgres, ``127.0.0.1:5432`` unless given.
* ``TESTBED_LOGS``: a folder for the logs of functions; without one they go with the process.
"""

import asyncio
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import psycopg
import uvloop
from psycopg.conninfo import conninfo_to_dict

from testbed.errors import HarnessError, TestbedError, UsageError
from testbed.gateway.plane import Plane, PlaneSettings
from testbed.gateway.process import serve

_READY_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 5
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the process is told; see the module.

    Raises:
        UsageError: A variable is missing or makes no sense.
    """

    emulator_url: str
    postgres_dsn: str
    token: str
    listen: tuple[str, int]
    postgres_listen: tuple[str, int]
    logs: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The settings in these variables."""
        logs = environment.get("TESTBED_LOGS")
        return cls(
            emulator_url=_given(environment, "TESTBED_EMULATOR_URL").rstrip("/"),
            postgres_dsn=_given(environment, "TESTBED_POSTGRES_DSN"),
            token=_given(environment, "TESTBED_TOKEN"),
            listen=_address("TESTBED_LISTEN", environment.get("TESTBED_LISTEN", "127.0.0.1:4566")),
            postgres_listen=_address(
                "TESTBED_POSTGRES_LISTEN", environment.get("TESTBED_POSTGRES_LISTEN", "127.0.0.1:5432")
            ),
            logs=Path(logs) if logs else None,
        )


def _given(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise UsageError(f"{name} is not set", "docker-compose.yml shows what the standing gateway is told")
    return environment[name]


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{name}={text!r} is no address", "write it as HOST:PORT, for example 127.0.0.1:4566")
    return host, int(port)


async def attach(plane: Plane, settings: Settings) -> None:
    """Wait for LocalStack and Postgres, and put the plane in front of them.

    Raises:
        HarnessError: One of them is not ready within two minutes.
    """
    await asyncio.gather(
        _until(lambda: _localstack_problem(settings.emulator_url), f"LocalStack at {settings.emulator_url}"),
        _until(lambda: _postgres_problem(settings.postgres_dsn), "Postgres"),
    )
    server = conninfo_to_dict(settings.postgres_dsn)
    await plane.connect(
        settings.emulator_url, str(server["host"]), int(server.get("port") or 5432), str(server["user"])
    )
    await plane.read_anew()  # something may be deployed already: this process may have been started again


async def _until(problem: Callable[[], Awaitable[str | None]], part: str) -> None:
    """Ask until there is no problem any more."""
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while (why := await problem()) is not None:
        if asyncio.get_running_loop().time() >= deadline:
            raise HarnessError(f"{part} was not ready within {_READY_SECONDS:.0f} s: {why}", "does it run?")
        await asyncio.sleep(_POLL_SECONDS)


async def _localstack_problem(url: str) -> str | None:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/_testbed/plugin/health") as answer,
        ):
            health: dict[str, Any] = await answer.json(content_type=None) if answer.status == 200 else {}  # noqa: PLR2004 - HTTP's "OK"
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return str(error) or type(error).__name__
    if not health:
        return "it runs without the testbed's plugin"
    return None if health["warm"] else health["error"] or "it still loads its services"


async def _postgres_problem(dsn: str) -> str | None:
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_ANSWER_SECONDS):
            return None
    except psycopg.OperationalError as error:
        return str(error).strip()


def _listening(address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address, backlog=4096)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"{address[0]}:{address[1]} cannot be used: {why}", "see TESTBED_LISTEN") from error


async def _stand(settings: Settings) -> None:
    with tempfile.TemporaryDirectory(prefix="serverless-testbed-standing-", ignore_cleanup_errors=True) as folder:
        plane = PlaneSettings(
            host=f"127.0.0.1:{settings.listen[1]}",
            folder=Path(folder) / "plane",
            logs=settings.logs or Path(folder) / "logs",
            run=secrets.token_hex(8),
            mode="container",
            postgres_listen=settings.postgres_listen,
        )
        listening = _listening(settings.listen)
        await serve(plane, settings.token, [listening], lambda standing: attach(standing, settings))


def main() -> None:
    """Stand until SIGTERM; end with the exit code of what went wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.of(os.environ)
        for secret in ("TESTBED_POSTGRES_DSN", "TESTBED_TOKEN"):
            del os.environ[secret]  # the fork server inherits the rest
        uvloop.run(_stand(settings))
    except TestbedError as error:
        sys.exit(_told(error))


def _told(error: TestbedError) -> int:
    hint = f"\n  hint: {error.hint}" if error.hint else ""
    sys.stderr.write(f"testbed gateway: {error.message}{hint}\n")
    return error.exit_code


if __name__ == "__main__":
    main()
