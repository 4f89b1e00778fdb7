"""What functions say of their asynchronous invokes: read from the emulator once, and again when it changes."""

import asyncio
from typing import Any, Final

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.functions import CALLER, Reference
from testbed.compute.kept import kept
from testbed.semantics.async_invoke import EventInvokeConfig

_NOT_FOUND: Final = 404


class EventInvokeConfigs:
    """The configurations, by function and qualifier as it is invoked: an alias does not share that of its version.

    Args:
        aws: Reads them.
    """

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self._known: dict[Reference, asyncio.Task[EventInvokeConfig]] = {}

    async def get(self, reference: Reference) -> EventInvokeConfig:
        """The configuration, from memory where it has not changed; AWS's defaults where there is none.

        Raises:
            AwsCallError: The emulator did not answer.
        """
        return await kept(self._known, reference, lambda: self._read(reference))

    def invalidate(self, name: str) -> None:
        """That of function ``name`` changed: read it again."""
        for reference in [each for each in self._known if each.name == name]:
            del self._known[reference]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    async def _read(self, reference: Reference) -> EventInvokeConfig:
        parameters = {"FunctionName": reference.name}
        if reference.qualifier:
            parameters["Qualifier"] = reference.qualifier
        try:
            answer = await self._aws.call("lambda", "GetFunctionEventInvokeConfig", parameters, caller=CALLER)
        except AwsCallError as error:
            if error.status == _NOT_FOUND:
                return EventInvokeConfig()
            raise
        return EventInvokeConfig(
            maximum_retry_attempts=answer.get("MaximumRetryAttempts"),
            maximum_event_age=answer.get("MaximumEventAgeInSeconds"),
            on_success=_destination(answer, "OnSuccess"),
            on_failure=_destination(answer, "OnFailure"),
        )


def _destination(answer: dict[str, Any], condition: str) -> str | None:
    destination: str | None = ((answer.get("DestinationConfig") or {}).get(condition) or {}).get("Destination")
    return destination or None
