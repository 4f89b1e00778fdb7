"""The plane process. Whoever starts it hands over a listening socket and its settings as JSON in a variable."""

import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path

import uvloop

from testbed.gateway.client import SETTINGS_VARIABLE
from testbed.gateway.control import Control
from testbed.gateway.plane import Plane, PlaneSettings
from testbed.gateway.server import GatewayServer


async def _serve() -> None:
    told = json.loads(os.environ.pop(SETTINGS_VARIABLE))
    plane = Plane(
        PlaneSettings(host=told["host"], folder=Path(told["folder"]), logs=Path(told["logs"]), run=told["run"])
    )
    server = GatewayServer(plane.gateway, Control(plane, told["token"]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await plane.start()
    await server.start(*(socket.socket(fileno=number) for number in told["sockets"]))
    try:
        await ended.wait()
    finally:
        await server.stop()
        await plane.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    uvloop.run(_serve())
