"""Messages expire, those in a dead-letter queue by the time since they were first sent.

Source: Amazon SQS developer guide, Using dead-letter queues in Amazon SQS. A FIFO queue counts from the move, and so
does LocalStack for every queue; both leave messages in flight alone.
"""

import heapq
import time
from typing import Any


def expire_messages_as_sqs_does() -> None:
    """Turn LocalStack's expiry on, and let dead letters of standard queues keep their age."""
    from localstack import config  # noqa: PLC0415  # see start.install
    from localstack.services.sqs.models import StandardQueue  # noqa: PLC0415  # see start.install

    by_the_move = StandardQueue.remove_expired_messages

    def remove_expired_messages(self: Any) -> None:
        with self.mutex:
            heap = self.visible.queue
            if heap and heap[0].dead_letter_queue_source_arn:
                oldest = time.time() - self.message_retention_period
                heap[:] = [message for message in heap if _sent(message) > oldest]
                heapq.heapify(heap)
            else:
                by_the_move(self)

    StandardQueue.remove_expired_messages = remove_expired_messages
    config.SQS_ENABLE_MESSAGE_RETENTION_PERIOD = True


def _sent(message: Any) -> float:
    """When it was first sent, in seconds since 1970."""
    return int(message.message["Attributes"]["SentTimestamp"]) / 1000
