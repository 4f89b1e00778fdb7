"""The plane process. Whoever starts it hands over a listening socket and its settings as JSON in a variable."""

import json
import logging
import os
import socket
from pathlib import Path

import uvloop

from testbed.gateway.client import SETTINGS_VARIABLE
from testbed.gateway.plane import PlaneSettings
from testbed.gateway.process import serve


async def _serve() -> None:
    told = json.loads(os.environ.pop(SETTINGS_VARIABLE))
    settings = PlaneSettings(
        host=told["host"], folder=Path(told["folder"]), logs=Path(told["logs"]), run=told["run"], mode=told["mode"]
    )
    await serve(settings, told["token"], [socket.socket(fileno=number) for number in told["sockets"]])


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    uvloop.run(_serve())
