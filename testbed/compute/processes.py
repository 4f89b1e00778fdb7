"""The plane's side of the fork server: starts it, asks it for environments, hears of their end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.compute import forkserver
from testbed.compute.functions import Function
from testbed.compute.memory import MemoryWatch
from testbed.errors import EngineDiedError, how_ended

_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        status: As of waitpid(2).
        peak_bytes: The most memory that it ever had.
    """

    status: int
    peak_bytes: int


_KILLED: Final = Exit(int(signal.SIGKILL), 0)
"""What the end of the fork server does to every environment."""


class Processes:
    """Environments as processes, by id.

    Args:
        log: File that takes what the fork server itself writes; compiled code goes into a folder beside it.
        run: Token of the run: ``TESTBED_RUN`` in the environment that the kernel shows of every process.
        on_death: Told when the fork server ends later without having been stopped; all environments are gone then.

    Attributes:
        pids: Process ids of the environments.
        memory: Watches how much memory those that are busy have.
    """

    def __init__(self, log: Path, run: str, on_death: Callable[[EngineDiedError], None]) -> None:
        self._log = log
        self._run = run
        self._on_death = on_death
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._outbox: deque[tuple[bytes, int | None]] = deque()
        self._on_exit: dict[str, Callable[[Exit], None]] = {}
        self.pids: dict[str, int] = {}
        self.memory = MemoryWatch()

    async def start(self) -> None:
        """Start the fork server, and wait until it has loaded its libraries.

        Raises:
            EngineDiedError: It ended before that.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._control = self._launch()
        asyncio.get_running_loop().add_reader(self._control, self._receive)
        await self._ready

    def _launch(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pycache = str(self._log.parent / "pycache")
        command = [sys.executable, "-P", "-X", "utf8", forkserver.__file__, str(theirs.fileno()), pycache]
        with theirs, self._log.open("ab") as log:
            self._server = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TESTBED_RUN": self._run},
            )
        ours.settimeout(0)
        return ours

    def spawn(
        self,
        ident: str,
        environ: dict[str, str],
        function: Function,
        log: int,
        on_exit: Callable[[Exit], None],
    ) -> None:
        """Start environment ``ident``; its output goes to descriptor ``log``, which is closed here.

        Args:
            ident: Never used before.
            environ: All of its environment variables.
            function: What it runs.
            log: Write end of a pipe.
            on_exit: Told once, when the process has ended.
        """
        if self._control is None:  # the fork server is gone, and whoever watches it has been told
            os.close(log)
            asyncio.get_running_loop().call_soon(on_exit, _KILLED)
            return
        self._on_exit[ident] = on_exit
        order = {
            "op": "spawn",
            "id": ident,
            "environ": environ,
            "task_root": str(function.code),
            "layers": str(function.layers) if function.layers else None,
            "bootstrap": function.has_bootstrap,
        }
        self._send(order, log)

    def kill(self, ident: str) -> None:
        """Kill environment ``ident`` and what it has started; nothing happens when it has ended already."""
        self._send({"op": "kill", "id": ident})

    async def stop(self) -> None:
        """End the fork server, and with it every environment."""
        server, self._server = self._server, None
        if server is None:
            return
        self._close()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, server.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def _send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        self._outbox.append((json.dumps(message).encode(), descriptor))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        """Send what waits; where the socket is full, go on when it has room."""
        control = self._control
        while control is not None and self._outbox:
            packet, descriptor = self._outbox[0]
            try:
                socket.send_fds(control, [packet], [] if descriptor is None else [descriptor])
            except BlockingIOError:
                asyncio.get_running_loop().add_writer(control, self._flush)
                return
            except OSError:  # it has died: reading says so
                break
            self._outbox.popleft()
            if descriptor is not None:
                os.close(descriptor)
        if control is not None:
            asyncio.get_running_loop().remove_writer(control)
        self._drop_outbox()

    def _drop_outbox(self) -> None:
        while self._outbox:
            _, descriptor = self._outbox.popleft()
            if descriptor is not None:
                os.close(descriptor)

    def _receive(self) -> None:
        while self._control is not None:
            try:
                packet = self._control.recv(forkserver.PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._died()
                return
            self._handle(json.loads(packet))

    def _handle(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "ready" if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            case "spawned":
                self.pids[message["id"]] = message["pid"]
            case "exited":
                self.pids.pop(message["id"], None)
                self._on_exit.pop(message["id"])(Exit(message["status"], message["peak_kb"] * 1024))

    def _died(self) -> None:
        server, self._server = self._server, None
        self._close()
        if server is None:
            return
        server.kill()
        tail = self._log.read_text(errors="replace")[-2000:]
        error = EngineDiedError("the fork server of the Lambda plane", how_ended(server.wait()), tail)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        else:
            self._on_death(error)

    def _close(self) -> None:
        """Leave the socket, which ends the fork server, and every environment with it."""
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control)
        loop.remove_writer(self._control)
        with contextlib.suppress(OSError):
            self._control.close()
        self._control = None
        self._drop_outbox()
        self.pids.clear()
        ended, self._on_exit = self._on_exit, {}
        for on_exit in ended.values():
            on_exit(_KILLED)
