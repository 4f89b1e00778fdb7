"""The rules of event source mappings of SQS queues: how many pollers, when a batch closes, how long one is held."""

import math
from dataclasses import dataclass, field, replace

from testbed.semantics.backoff import Backoff
from testbed.semantics.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsMappingProfile:
    """Numbers of event source mappings of SQS queues.

    Documented: `starting_pollers`, `added_per_minute`, `maximum_pollers` (AWS Lambda developer guide, Configuring
    scaling behavior for SQS event source mappings; AWS Compute blog, "Introducing faster polling scale-up for AWS
    Lambda functions configured with Amazon SQS", November 2023), `long_poll` (Amazon SQS developer guide, short and
    long polling), `batch_bytes` (AWS Lambda developer guide, Batching behavior), all `provisioned_` ones (AWS Lambda
    developer guide, Using provisioned mode with Amazon SQS event source mappings).

    Not published by AWS, so check how much a result depends on them: all the others.

    Attributes:
        starting_pollers: Batches that are read and invoked at the same time when a mapping starts.
        added_per_minute: Concurrent batches added per minute while messages remain available.
        maximum_pollers: Most concurrent batches of one mapping.
        provisioned_invokes: Concurrent batches of one event poller in provisioned mode.
        provisioned_added_per_minute: Concurrent batches added per minute in provisioned mode.
        provisioned_polls_per_second: ReceiveMessage calls per second of one event poller in provisioned mode.
        provisioned_bytes_per_second: Bytes per second of one event poller in provisioned mode.
        long_poll: Seconds that a ReceiveMessage waits for the first message, 20 at most. Not compressed: it ends
            as soon as a message arrives.
        batch_bytes: Largest event, in bytes, metadata of the messages included.
        minimum_pollers: AWS reduces concurrency after errors and throttles; it is unpublished how far.
        idle_pollers: Concurrent batches that are left when the queue is idle and there is no `MaximumConcurrency`. AWS
            goes back to five and "can optimize to as few as 2"; it is unpublished when.
        error_factor: What one failed or throttled invoke multiplies the concurrency by. AWS: "gradually backs off".
        removed_per_minute: Concurrent batches removed per minute while no backlog is left, down to the start.
        throttle_retry: Waits between the invokes of a batch that is throttled.
        api_retry: Waits after SQS refused or failed a call of the mapping.
    """

    starting_pollers: int = 5
    added_per_minute: float = 300.0
    maximum_pollers: int = 1250
    provisioned_invokes: int = 10
    provisioned_added_per_minute: float = 1000.0
    provisioned_polls_per_second: float = 10.0
    provisioned_bytes_per_second: float = 1024 * 1024.0
    long_poll: float = 20.0
    batch_bytes: int = 6 * 1024 * 1024
    minimum_pollers: int = 2
    idle_pollers: int = 5
    error_factor: float = 0.9
    removed_per_minute: float = 300.0
    throttle_retry: Backoff = field(default=Backoff(base=0.5, cap=10.0))
    api_retry: Backoff = field(default=Backoff(base=0.1, cap=5.0))

    def compress(self, k: float) -> "SqsMappingProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            added_per_minute=self.added_per_minute * k,
            provisioned_added_per_minute=self.provisioned_added_per_minute * k,
            removed_per_minute=self.removed_per_minute * k,
            throttle_retry=self.throttle_retry.compress(k),
            api_retry=self.api_retry.compress(k),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionedPollers:
    """``ProvisionedPollerConfig``: event pollers that are kept ready for one mapping.

    Attributes:
        minimum: ``MinimumPollers``, 2 to 200.
        maximum: ``MaximumPollers``, 2 to 10,000.
    """

    minimum: int = 2
    maximum: int = 200


class PollerScaling:
    """How many batches a mapping reads and invokes at the same time.

    AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings": five concurrent batches
    at the start; while messages remain available up to 300 more per minute; at most 1,250 per mapping, or
    ``MaximumConcurrency``, at which the mapping stops *reading*. In provisioned mode, ten for each event poller, from
    ``MinimumPollers`` to ``MaximumPollers``, up to 1,000 more per minute. "Creating and configuring an SQS event source
    mapping", back-off strategy for failed invocations: function errors and throttles make Lambda reduce the
    concurrency; with ``ReportBatchItemFailures``, failed messages do not. How fast it goes up within the minute, and
    how fast down, are parameters of the profile. That provisioned pollers never go below their minimum, whatever
    fails, is a guess: AWS calls them dedicated.
    """

    def __init__(
        self,
        profile: SqsMappingProfile,
        now: float,
        *,
        maximum_concurrency: int | None = None,
        provisioned: ProvisionedPollers | None = None,
    ) -> None:
        self._profile = profile
        self._observed_at = now
        self._pollers = 0.0
        self.limit(maximum_concurrency, provisioned)
        self._pollers = float(self._start)

    @property
    def pollers(self) -> int:
        """Batches that may be read and invoked at the same time."""
        return int(self._pollers)

    @property
    def event_pollers(self) -> int:
        """Event pollers of provisioned mode that are at work."""
        return math.ceil(self._pollers / self._profile.provisioned_invokes)

    def limit(self, maximum_concurrency: int | None, provisioned: ProvisionedPollers | None = None) -> None:
        """Take over a changed ``MaximumConcurrency`` or ``ProvisionedPollerConfig``; None is none."""
        profile = self._profile
        if provisioned:
            self._cap = provisioned.maximum * profile.provisioned_invokes
            self._start = self._idle = self._floor = provisioned.minimum * profile.provisioned_invokes
            self._added_per_minute = profile.provisioned_added_per_minute
        else:
            self._cap = min(profile.maximum_pollers, maximum_concurrency or profile.maximum_pollers)
            self._start = min(profile.starting_pollers, self._cap)
            self._idle = self._start if maximum_concurrency else min(profile.idle_pollers, self._start)
            self._floor = min(profile.minimum_pollers, self._cap)
            self._added_per_minute = profile.added_per_minute
        self._pollers = min(max(self._pollers, self._floor), self._cap)

    def observe(self, now: float, *, backlog: bool) -> int:
        """Scale for the time since the last look, in which messages were still available (``backlog``) or not."""
        minutes = max(0.0, now - self._observed_at) / 60
        self._observed_at = now
        if backlog or self._pollers < self._idle:
            self._pollers = min(self._cap, self._pollers + self._added_per_minute * minutes)
        else:
            self._pollers = max(self._idle, self._pollers - self._profile.removed_per_minute * minutes)
        return self.pollers

    def back_off(self) -> int:
        """An invoke failed with a function error, or was throttled: reduce the concurrency."""
        self._pollers = max(self._floor, self._pollers * self._profile.error_factor)
        return self.pollers


class PollPace:
    """How often, and how much, the event pollers of provisioned mode read.

    AWS Lambda developer guide, "Using provisioned mode with Amazon SQS event source mappings": each up to 10 polls and
    1 MB per second. How much of that may come at once is not published: here a second's worth.
    """

    def __init__(self, profile: SqsMappingProfile, event_pollers: int) -> None:
        self._profile = profile
        self._polls = TokenBucket(*self._polls_of(event_pollers))
        self._bytes = TokenBucket(*self._bytes_of(event_pollers))

    def resize(self, event_pollers: int, now: float) -> None:
        """From ``now`` on, another number of event pollers reads."""
        self._polls.resize(*self._polls_of(event_pollers), now)
        self._bytes.resize(*self._bytes_of(event_pollers), now)

    def poll(self, now: float) -> float:
        """Seconds to wait before the next poll may be tried; with 0 it is taken."""
        polls, owed = self._polls.level(now), -self._bytes.level(now)
        if owed > 0:
            return owed / self._bytes.capacity
        if polls < 1:
            return (1 - polls) / self._polls.capacity
        self._polls.take()
        return 0.0

    def read(self, size: int) -> None:
        """A poll gave ``size`` bytes."""
        self._bytes.take(size)

    def _polls_of(self, event_pollers: int) -> tuple[float, float]:
        rate = event_pollers * self._profile.provisioned_polls_per_second
        return rate, rate

    def _bytes_of(self, event_pollers: int) -> tuple[float, float]:
        rate = event_pollers * self._profile.provisioned_bytes_per_second
        return rate, rate


@dataclass(slots=True)
class Batching:
    """When a batch is closed: at its size, at the end of its window, or at 6 MB, whichever comes first.

    AWS Lambda developer guide, "Batching behavior". A window of 0 closes the batch with what the first read gave.

    Attributes:
        size: ``BatchSize``, in records.
        window: ``MaximumBatchingWindowInSeconds``.
        maximum_bytes: Largest event, in bytes.
        count: Records in the batch.
        bytes: Size of the event so far, in bytes; at the start, what it has besides its records.
        opened_at: When the first record came in; None while the batch is empty.
    """

    size: int
    window: float
    maximum_bytes: int
    count: int = 0
    bytes: int = 0
    opened_at: float | None = None

    def fits(self, size: int) -> bool:
        """Whether a record of ``size`` bytes still belongs into this batch; into an empty one, any does."""
        return self.count == 0 or (self.count < self.size and self.bytes + size <= self.maximum_bytes)

    def add(self, size: int, now: float) -> None:
        """Put a record of ``size`` bytes into the batch at ``now``."""
        if self.opened_at is None:
            self.opened_at = now
        self.count += 1
        self.bytes += size

    def seconds_left(self, now: float) -> float:
        """Seconds until the window ends; 0 as soon as the batch is full."""
        if self.count >= self.size or self.bytes >= self.maximum_bytes:
            return 0.0
        opened_at = now if self.opened_at is None else self.opened_at
        return max(0.0, opened_at + self.window - now)


@dataclass(slots=True)
class ThrottleHold:
    """A batch whose invoke is throttled: held and retried until its messages are visible again, then let go.

    AWS Lambda developer guide, "Creating and configuring an SQS event source mapping", back-off strategy: Lambda
    retries a throttled batch until the message's timestamp exceeds the queue's visibility timeout, then drops it, and
    it is back in the queue. The receive has been counted already, so a message can be dead-lettered without ever
    having been tried. Errors of the Lambda service are held alike. The pace of the retries is unpublished
    (``SqsMappingProfile.throttle_retry``).

    Attributes:
        profile: The numbers.
        visible_again: When the first message of the batch becomes visible again, in seconds.
        throttles: Throttled invokes so far.
    """

    profile: SqsMappingProfile
    visible_again: float
    throttles: int = 0

    def throttled(self, now: float, spread: float = 1.0) -> float | None:
        """Seconds until the next try after a throttle at ``now``; None to let the batch go.

        ``spread``, from 0 to 1, is the caller's jitter.
        """
        self.throttles += 1
        wait = self.profile.throttle_retry.delay(self.throttles, spread)
        return wait if now + wait < self.visible_again else None


def effective_visibility_timeout(queue: float, *, window: float, function_timeout: float) -> float:
    """The visibility timeout with which a mapping receives, in seconds.

    The queue's own, unless the batching window and the function's timeout together exceed it: then their sum and
    30 s. AWS Lambda developer guide, "Using Lambda with Amazon SQS" (2022).
    """
    needed = window + function_timeout
    return needed + 30 if needed > queue else queue
