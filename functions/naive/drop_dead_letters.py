"""Dead-letter queue -> Lambda, wrongly: logs each dead letter, and by returning deletes it.

The queue was there so that nothing is lost. What reads it ends that.
"""

import logging
from typing import Any


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - the signature is Lambda's
    """Say that there was one."""
    for record in event["Records"]:
        logging.error("dead letter %s", record["messageId"])  # noqa: LOG015 - as it is found everywhere
