"""What every plane process does, whoever has started it and wherever its settings come from."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence

from testbed.gateway.control import Control
from testbed.gateway.plane import Plane, PlaneSettings
from testbed.gateway.server import GatewayServer


async def serve(
    settings: PlaneSettings,
    token: str,
    listening: Sequence[socket.socket],
    connect: Callable[[Plane], Awaitable[object]] | None = None,
) -> None:
    """Run a plane until SIGTERM.

    Args:
        settings: Of the plane.
        token: Secret of the run.
        listening: Where the gateway takes requests; from the second one on, those of parts of the engine only.
        connect: Attaches the parts of the engine before the first request is taken; None where a control route will.
    """
    plane = Plane(settings)
    server = GatewayServer(plane.gateway, Control(plane, token), token)
    working = asyncio.create_task(_work(plane, server, listening, connect))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    try:
        await asyncio.wait((working,))
        if not working.cancelled():
            working.result()
    finally:
        await server.stop()
        await plane.stop()


async def _work(
    plane: Plane,
    server: GatewayServer,
    listening: Sequence[socket.socket],
    connect: Callable[[Plane], Awaitable[object]] | None,
) -> None:
    await plane.start()
    if connect is not None:
        await connect(plane)
    await server.start(*listening)
    await asyncio.get_running_loop().create_future()  # until it is cancelled
