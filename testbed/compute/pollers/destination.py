"""Delivery of on-failure records."""

import json
from typing import Any

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.base import MappingPoller

_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_THROTTLE_CODES = ("Throttl", "TooManyRequests", "RequestThrottled")


async def deliver(poller: MappingPoller, record: dict[str, Any]) -> bool:
    """Send ``record`` to the on-failure destination of the poller's mapping; whether that was done.

    Throttles and server errors are tried again until the poller is closed. Any other refusal (no such queue) is final,
    as AWS only counts it (CloudWatch metric DestinationDeliveryFailures).
    """
    failures = 0
    while True:
        try:
            await _send(poller, json.dumps(record))
        except AwsCallError as error:
            failures += 1
            poller.report_failure("on-failure destination", error, failures)
            wait = poller.env.profile.stream.api_retry.delay(failures)
            if not _retryable(error) or await poller.sleep(wait, poller.closing):
                return False
        else:
            return True


async def _send(poller: MappingPoller, text: str) -> None:
    arn = poller.mapping.on_failure or ""
    if arn.split(":")[2] == "sns":
        await poller.call("sns", "Publish", {"TopicArn": arn, "Message": text})
        return
    queue = await poller.call("sqs", "GetQueueUrl", {"QueueName": arn.split(":")[-1]})
    await poller.call("sqs", "SendMessage", {"QueueUrl": queue["QueueUrl"], "MessageBody": text})


def _retryable(error: AwsCallError) -> bool:
    if not _CLIENT_ERROR <= error.status < _SERVER_ERROR:
        return True
    return error.status == 429 or any(code in error.code for code in _THROTTLE_CODES)  # noqa: PLR2004 - HTTP's throttle
