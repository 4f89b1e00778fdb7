"""moto's handlers run one at a time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from testbed.localstack_plugin.serverless_testbed_plugin import serial
from testbed.localstack_plugin.serverless_testbed_plugin.serial import one_at_a_time


def test_no_other_thread_gets_in_while_a_handler_runs() -> None:
    """The lock is held during the call, by every handler, and free again after it."""

    def try_lock() -> bool:
        got_in = serial._lock.acquire(blocking=False)
        if got_in:
            serial._lock.release()
        return got_in

    def others_get_in(_context: Any, _request: Any) -> bool:
        return others.submit(try_lock).result()

    with ThreadPoolExecutor(1) as others:
        handlers = one_at_a_time({"PutRecord": others_get_in, "GetRecords": others_get_in})
        assert [handler(None, None) for handler in handlers.values()] == [False, False]
        assert others_get_in(None, None)


def test_a_handler_may_call_another_one() -> None:
    """A table's write that feeds its stream does not wait for itself."""
    handlers = one_at_a_time({"inner": lambda _context, request: request + 1})
    outer = one_at_a_time({"outer": lambda context, request: handlers["inner"](context, request) * 2})
    assert outer["outer"](None, 1) == 4
