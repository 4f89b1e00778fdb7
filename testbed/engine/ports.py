"""Free TCP ports on the loopback interface."""

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


def free_port(preferred: int = 0) -> int:
    """A port that was free a moment ago; whoever binds it must be ready to try another one.

    Args:
        preferred: The port that it should be, unless it is in use.
    """
    with socket.socket() as probe:
        if preferred:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended are no use of it
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            if not preferred:
                raise
            return free_port()
        return int(probe.getsockname()[1])
