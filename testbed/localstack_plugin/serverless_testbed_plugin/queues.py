"""What happens in queues, for the data plane to publish: LocalStack's own metrics cost a call for each message."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

PATH: Final = "/_testbed/plugin/queues"
_MINUTE: Final = 60
_PASSED_OVER: Final = 3


class QueueCounts:
    """Counts messages sent, received and deleted; stands where LocalStack's provider has its CloudWatch dispatcher.

    It sees every message, whoever sent it and in whatever protocol: topics, rules and integrations too. What was taken
    is kept until the taker says that it has arrived.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[int, str, str, float]] = Counter()
        self._taken: list[tuple[int, str, str, float, int]] = []
        self._batch = 0

    def dispatch_metric_message_sent(self, queue: Any, message_body_size: int) -> None:
        """A message was sent to ``queue``; what a redrive policy moves is not counted, as on AWS."""
        self._count(queue, "NumberOfMessagesSent", 1)
        self._count(queue, "SentMessageSize", message_body_size)

    def dispatch_metric_message_deleted(self, queue: Any, deleted: int = 1) -> None:
        """Messages were deleted."""
        self._count(queue, "NumberOfMessagesDeleted", deleted)

    def dispatch_metric_received(self, queue: Any, received: int) -> None:
        """A receive has brought this many messages."""
        if received:
            self._count(queue, "NumberOfMessagesReceived", received)
        else:
            self._count(queue, "NumberOfEmptyReceives", 1)

    def take(self, arrived: int) -> tuple[int, list[tuple[int, str, str, float, int]]]:
        """A number, and what was counted since the batch with the number ``arrived``.

        Each entry: start of the minute, name of the queue, metric, value, and how often there was that value.
        """
        with self._lock:
            if arrived == self._batch:
                self._taken.clear()
            self._taken += [(*key, times) for key, times in self._counts.items()]
            self._counts.clear()
            self._batch += 1
            return self._batch, list(self._taken)

    def shutdown(self) -> None:
        """Nothing runs."""

    def _count(self, queue: Any, metric: str, value: float) -> None:
        with self._lock:
            self._counts[int(time.time()) // _MINUTE * _MINUTE, queue.name, metric, value] += 1


_counts: Final = QueueCounts()


def count_in_queues() -> None:
    """Put the counts into LocalStack's SQS."""
    from localstack.services.sqs.provider import SqsProvider  # noqa: PLC0415  # see start.install

    def instead(self: Any) -> None:
        self.cloudwatch_disabled = True
        self._cloudwatch_publish_worker = None
        self._cloudwatch_dispatcher = _counts

    SqsProvider._init_cloudwatch_metrics_reporting = instead  # noqa: SLF001 - where LocalStack decides


def tell(request: Any) -> dict[str, Any]:
    """Answer the data plane: what was counted, and how full each queue is."""
    from localstack.services.sqs.models import sqs_stores  # noqa: PLC0415  # see start.install

    batch, counts = _counts.take(json.loads(request.get_data() or b"{}").get("arrived", 0))
    stores = (store for _, _, store in sqs_stores.iter_stores())
    return {"batch": batch, "counts": counts, "gauges": gauges(queue for store in stores for queue in _each(store))}


def gauges(queues: Iterable[Any]) -> dict[str, dict[str, float]]:
    """The metrics of queues that are looked at, by name of the queue."""
    now = time.time()
    return {
        queue.name: {
            "ApproximateNumberOfMessagesVisible": len(visible := list(_visible(queue))),
            "ApproximateNumberOfMessagesNotVisible": len(inflight := list(queue.inflight)),
            "ApproximateNumberOfMessagesDelayed": len(queue.delayed),
            "ApproximateAgeOfOldestMessage": round(age_of_oldest([*visible, *inflight], now), 3),
        }
        for queue in queues
    }


def age_of_oldest(messages: Iterable[Any], now: float) -> float:
    """Seconds since the oldest message was sent; 0 for none.

    A message that was received three times goes to the back: it counts only where there is no other (Amazon SQS
    developer guide, Available CloudWatch metrics for Amazon SQS).
    """
    fresh, passed_over = [now], [now]
    for message in messages:
        (fresh if message.receive_count < _PASSED_OVER else passed_over).append(message.created)
    return now - min(fresh if len(fresh) > 1 else passed_over)


def _each(store: Any) -> list[Any]:
    return list(store.queues.values())


def _visible(queue: Any) -> Iterator[Any]:
    """The messages that can be received now; those of a FIFO queue are kept by group."""
    groups = getattr(queue, "message_groups", None)
    if groups is None:
        yield from list(queue.visible.queue)
    else:
        for group in list(groups.values()):
            yield from list(group.messages)
