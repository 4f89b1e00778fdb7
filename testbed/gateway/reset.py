"""Connections that end with a reset, as those do whose other end has died."""

import socket
import struct
from typing import Final

_NO_LINGER: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time


def reset_on_close(connection: socket.socket) -> None:
    """Let the other end of ``connection`` see a reset, not an end, once it is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
