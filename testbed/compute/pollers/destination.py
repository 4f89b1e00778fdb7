"""Delivery of on-failure records."""

import json
from collections.abc import Sequence
from typing import Any

from testbed.compute.aws import AwsCallError
from testbed.compute.pollers.base import MappingPoller
from testbed.compute.pollers.batch import Record, batch_identity
from testbed.semantics.on_failure import s3_key

_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_THROTTLE_CODES = ("Throttl", "TooManyRequests", "RequestThrottled", "SlowDown")


async def deliver(
    poller: MappingPoller, record: dict[str, Any], *, shard_id: str, records: Sequence[Record], event: bytes
) -> bool:
    """Send ``record``, of what was discarded, to the destination of the poller's mapping; whether that was done.

    A bucket gets the ``event`` with it, in which the function had the ``records``. Throttles and server errors are
    tried again until the poller is closed. Any other refusal (no such queue) is final, as AWS only counts it
    (CloudWatch metric DestinationDeliveryFailures).
    """
    failures = 0
    batch = f"{batch_identity(records)} {records[0].id}"
    key = s3_key(mapping=poller.mapping.uuid, shard_id=shard_id, now=poller.env.clock(), batch=batch)
    while True:
        try:
            await _send(poller, record, key, event)
        except AwsCallError as error:
            failures += 1
            poller.report_failure("on-failure destination", error, failures)
            wait = poller.env.profile.stream.api_retry.delay(failures)
            if not _retryable(error) or await poller.sleep(wait, poller.closing):
                return False
        else:
            return True


async def _send(poller: MappingPoller, record: dict[str, Any], key: str, event: bytes) -> None:
    arn = poller.mapping.on_failure or ""
    service, name = arn.split(":")[2], arn.split(":")[-1]
    if service == "s3":
        body = json.dumps(record | {"payload": json.loads(event)}).encode()
        await poller.call("s3", "PutObject", {"Bucket": name, "Key": key, "Body": body})
    elif service == "sns":
        await poller.call("sns", "Publish", {"TopicArn": arn, "Message": json.dumps(record)})
    else:
        queue = await poller.call("sqs", "GetQueueUrl", {"QueueName": name})
        params = {"QueueUrl": queue["QueueUrl"], "MessageBody": json.dumps(record)}
        await poller.call("sqs", "SendMessage", params)


def _retryable(error: AwsCallError) -> bool:
    if not _CLIENT_ERROR <= error.status < _SERVER_ERROR:
        return True
    return error.status == 429 or any(code in error.code for code in _THROTTLE_CODES)  # noqa: PLR2004 - HTTP's throttle
