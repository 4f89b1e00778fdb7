"""One call at a time into moto."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

_lock = threading.RLock()
"""moto's backends are written for one thread: two puts at a time could take the same sequence number, so that one
record was lost, and two conditional writes could both succeed. Streams share the data of tables, so there is one lock
for all. As Python runs one thread at a time anyway, it costs next to nothing."""


def one_at_a_time(
    handlers: Mapping[str, Callable[[Any, Any], Any]],
) -> dict[str, Callable[[Any, Any], Any]]:
    """The same handlers, of which no two ever run at the same time."""
    return {name: _locked(handler) for name, handler in handlers.items()}


def _locked(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(context: Any, request: Any) -> Any:
        with _lock:
            return handler(context, request)

    return call
