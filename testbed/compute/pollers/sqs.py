"""The poller of SQS mappings: as many loops at once as the scaling rule allows."""

import asyncio
from typing import Any, Final

from testbed.compute.pollers.base import MappingPoller, Surroundings
from testbed.compute.pollers.mapping import Mapping
from testbed.compute.pollers.sqs_loop import PollLoop
from testbed.compute.pollers.status import MappingStatus
from testbed.semantics.sqs_mapping import PollerScaling, PollPace, effective_visibility_timeout

_SCALING_INTERVAL: Final = 0.2  # seconds between two looks at the number of loops: fine enough for 300 per minute


class SqsPoller(MappingPoller):
    """One mapping of a queue: as many `PollLoop` as the scaling rule allows.

    A loop has one batch in hand at most, so that at ``MaximumConcurrency`` nobody reads.

    Attributes:
        scaling: How many loops may run.
        pace: How fast they may read; None but in provisioned mode.
        queue_url: The queue, once it is known.
        visibility_timeout: Seconds that received messages stay invisible.
        own_visibility: Whether that is not the queue's own, and has to be said with every receive.
    """

    def __init__(self, surroundings: Surroundings, mapping: Mapping) -> None:
        """Prepare; nothing runs until `configure`."""
        super().__init__(surroundings, mapping)
        self.scaling = PollerScaling(
            surroundings.profile.sqs,
            surroundings.clock(),
            maximum_concurrency=mapping.maximum_concurrency,
            provisioned=mapping.provisioned,
        )
        self.pace: PollPace | None = None
        self.queue_url = ""
        self.visibility_timeout = 0.0
        self.own_visibility = False
        self._loops: dict[PollLoop, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked_up: Mapping | None = None

    def configure(self, mapping: Mapping) -> None:
        """Take over what is listed now; batches in flight end as they began."""
        super().configure(mapping)
        self.scaling.limit(mapping.maximum_concurrency, mapping.provisioned)
        self._set_pace()

    async def stop(self, grace: float) -> None:
        """End now: long polls are cut short, invokes in flight get ``grace`` seconds."""
        for loop in self._loops:
            loop.cut_receive()
        await super().stop(grace)

    def status(self) -> MappingStatus:
        """How far the mapping is."""
        in_flight = sum(loop.busy for loop in self._loops)
        return MappingStatus(
            uuid=self.mapping.uuid,
            source=self.mapping.source_arn,
            function=self.mapping.function,
            in_flight=in_flight,
            held=sum(loop.held for loop in self._loops),
            behind=0,
            idle=in_flight == 0,
        )

    def dismisses(self, loop: PollLoop) -> bool:
        """Whether ``loop``, which has nothing in hand, is one too many; it is counted out then."""
        if len(self._loops) <= self._wanted:
            return False
        del self._loops[loop]
        return True

    @property
    def reads(self) -> bool:
        """Whether messages are to be received."""
        return self.enabled.is_set() and not self.closing.is_set()

    @property
    def _wanted(self) -> int:
        return self.scaling.pollers if self.reads else 0

    async def _run(self) -> None:
        try:
            while not self.closing.is_set():
                if self.enabled.is_set() and self._looked_up != self.mapping:
                    await self._look_up(self.mapping)
                if self._looked_up is not None:
                    self._scale()
                await self.sleep(_SCALING_INTERVAL, self.closing)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_up(self, mapping: Mapping) -> None:
        """Find the queue, and the visibility timeout to receive with."""
        retry = self.env.profile.sqs.api_retry
        found = await self.call_patiently("sqs", "GetQueueUrl", {"QueueName": mapping.source}, retry)
        if found is None:
            return
        params: dict[str, Any] = {"QueueUrl": found["QueueUrl"], "AttributeNames": ["VisibilityTimeout"]}
        queue = await self.call_patiently("sqs", "GetQueueAttributes", params, retry)
        if queue is None:
            return
        own = float(queue["Attributes"]["VisibilityTimeout"])
        self.visibility_timeout = effective_visibility_timeout(
            own, window=mapping.window, function_timeout=await self._function_timeout(mapping)
        )
        self.own_visibility = self.visibility_timeout != own
        self.queue_url = found["QueueUrl"]
        self._looked_up = mapping

    async def _function_timeout(self, mapping: Mapping) -> float:
        """The function's timeout where it matters; without a window it is never above the visibility timeout."""
        if not mapping.window:
            return 0.0
        params = {"FunctionName": mapping.function_arn}
        retry = self.env.profile.sqs.api_retry
        function = await self.call_patiently("lambda", "GetFunctionConfiguration", params, retry)
        return float(function["Timeout"]) if function else 0.0

    def _scale(self) -> None:
        now = self.env.clock()
        backlog = bool(self._loops) and not any(loop.finds_nothing(now) for loop in self._loops)
        self.scaling.observe(now, backlog=backlog)
        self._set_pace()
        while len(self._loops) < self._wanted:
            loop = PollLoop(self)
            task = asyncio.create_task(loop.run(), name=self.mapping.caller)
            self._loops[loop] = task
            self._tasks.add(task)
            task.add_done_callback(self._forget)

    def _set_pace(self) -> None:
        event_pollers = self.scaling.event_pollers
        if self.mapping.provisioned is None:
            self.pace = None
        elif self.pace is None:
            self.pace = PollPace(self.env.profile.sqs, event_pollers)
        else:
            self.pace.resize(event_pollers, self.env.clock())

    def _forget(self, task: asyncio.Task[None]) -> None:
        """A loop ended; where it crashed, the next look starts another one, and its messages become visible again."""
        self._tasks.discard(task)
        self._loops = {loop: other for loop, other in self._loops.items() if other is not task}
        self.report_crash(task)
