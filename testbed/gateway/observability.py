"""CloudWatch: metrics of what the journal's hops say, and the logs of functions, published in LocalStack.

It is never in the way of an invoke: what happens is only counted, and published by one loop, call after call, that
rests nine times as long as LocalStack took.
"""

import asyncio
import functools
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from multidict import CIMultiDict

from testbed.gateway.emulator import EmulatorUnreachableError
from testbed.gateway.function_logs import LogEvents, PublishError, refusal_of
from testbed.gateway.message import Inbound, Reply
from testbed.semantics.hop_metrics import event_counts_of, observe
from testbed.semantics.metrics import Datum, Metrics, batches

_PAUSE_SECONDS: Final = 1.0
_REST_FACTOR: Final = 9.0
_LOG_BYTES_PER_TURN: Final = 1 << 19  # LocalStack keeps all of it in memory
_ANSWER_SECONDS: Final = 10.0
_MOST_DATA: Final = 200  # of the 1,000 that a call may have: its answer takes 10 ms
_KEPT_VALUES: Final = 300_000  # some 30 MB
_QUEUES_PATH: Final = "/_testbed/plugin/queues"
_OK: Final = 200
_SIGNATURE: Final = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
)
_TARGETS: Final = {
    "monitoring": ("GraniteServiceVersion20100801", "application/x-amz-json-1.0"),
    "logs": ("Logs_20140328", "application/x-amz-json-1.1"),
}
_log: Final = logging.getLogger(__name__)


class Observability:
    """Counts what happens, and publishes it.

    Args:
        forward: The way to the emulator, past faults and journal.

    Attributes:
        logs: What functions printed and is still to be published.
    """

    def __init__(self, forward: Callable[[Inbound], Awaitable[Reply]]) -> None:
        self._forward = forward
        self._metrics = Metrics()
        self._unsent: deque[Datum] = deque()
        self._batch = 0
        self._gauges: Mapping[str, Mapping[str, float]] = {}
        self._busy = asyncio.Lock()
        self._complained = False
        self.logs = LogEvents()

    def observe(self, hop: str, fields: Mapping[str, Any]) -> None:
        """A line of the journal, recorded or not."""
        observe(self._metrics, hop, fields, time.time())

    def use(self, mappings: Iterable[Mapping[str, Any]]) -> None:
        """These event source mappings are there, as LocalStack lists them."""
        self._metrics.event_counts = event_counts_of(mappings)

    async def turn(self) -> None:
        """Publish what there is, and rest."""
        started = time.monotonic()
        await self.flush(_LOG_BYTES_PER_TURN)
        await asyncio.sleep(max(_PAUSE_SECONDS, _REST_FACTOR * (time.monotonic() - started)))

    async def flush(self, log_bytes: int | None = None) -> bool:
        """Publish what has happened until now, of the logs no more than ``log_bytes``; whether LocalStack has it.

        What failed is told once, and published the next time.
        """
        try:
            await self.publish(log_bytes)
        except PublishError as error:
            if not self._complained:
                _log.warning("CloudWatch is not up to date, publishing is tried again: %s", error)
            self._complained = True
            return False
        self._complained = False
        return True

    async def publish(self, log_bytes: int | None = None) -> None:
        """The same.

        Raises:
            PublishError: LocalStack did not take it.
        """
        async with self._busy:
            await self._publish_metrics()
            await self.logs.publish(functools.partial(self._call, "logs"), log_bytes)

    async def _publish_metrics(self) -> None:
        self._keep(self._metrics.take())  # now already: LocalStack may not answer
        await self._ask_queues()
        self._keep(self._metrics.take())
        for namespace, data in batches(list(self._unsent), _MOST_DATA):
            order = {"Namespace": namespace, "MetricData": [_member(datum) for datum in data]}
            status, body = await self._call("monitoring", "PutMetricData", order)
            if status != _OK:
                raise PublishError(f"PutMetricData: {refusal_of(body)}")
            sent = set(map(id, data))
            self._unsent = deque(datum for datum in self._unsent if id(datum) not in sent)

    def _keep(self, data: Iterable[Datum]) -> None:
        """Have these published; where too many wait, the oldest never are."""
        self._unsent += data
        waiting = sum(len(datum.samples) for datum in self._unsent)
        while waiting > _KEPT_VALUES:
            waiting -= len(self._unsent.popleft().samples)

    async def _ask_queues(self) -> None:
        """What the plugin counted in queues since the last time, and how full those are in which something changed."""
        body = json.dumps({"arrived": self._batch}).encode()
        reply = await self._answer(Inbound("POST", _QUEUES_PATH, CIMultiDict(), body))
        try:
            told = json.loads(await reply.whole())
            self._batch = told["batch"]
        except (ValueError, KeyError) as error:
            raise PublishError(f"the plugin does not tell of queues: status {reply.status}") from error
        for minute, queue, metric, value, times in told["counts"]:
            self._metrics.add(minute, ("queue", queue), metric, value, times)
        before, self._gauges = self._gauges, told["gauges"]
        active = {queue for _, queue, *_ in told["counts"]}
        now = int(time.time())
        for queue, gauges in self._gauges.items():
            if queue in active or any(gauges.values()) or any(before.get(queue, {}).values()):
                for metric, value in gauges.items():
                    self._metrics.add(now, ("queue", queue), metric, value)

    async def _call(self, service: str, operation: str, order: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer to an AWS call, made without botocore, which takes a hundred times as long."""
        prefix, content = _TARGETS[service]
        headers = CIMultiDict(
            {
                "X-Amz-Target": f"{prefix}.{operation}",
                "Content-Type": content,
                "Authorization": _SIGNATURE.format(service),
            }
        )
        reply = await self._answer(Inbound("POST", "/", headers, json.dumps(order).encode()))
        return reply.status, await reply.whole()

    async def _answer(self, request: Inbound) -> Reply:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reply = await self._forward(request)
                await reply.whole()
        except (EmulatorUnreachableError, TimeoutError) as error:
            why = str(error) or f"nothing within {_ANSWER_SECONDS:g} s"
            raise PublishError(f"LocalStack does not answer: {why}") from error
        return reply


def _member(datum: Datum) -> dict[str, Any]:
    return {
        "MetricName": datum.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in datum.dimensions],
        "Timestamp": datum.minute,
        "Unit": datum.unit,
        "Values": list(datum.samples.keys()),
        "Counts": list(datum.samples.values()),
    }
