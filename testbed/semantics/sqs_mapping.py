"""The rules of event source mappings of SQS queues: how many pollers, when a batch closes, how long one is held."""

from dataclasses import dataclass, field, replace

from testbed.semantics.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsMappingProfile:
    """Numbers of event source mappings of SQS queues.

    Documented: `starting_pollers`, `added_per_minute`, `maximum_pollers` (AWS Lambda developer guide, Configuring
    scaling behavior for SQS event source mappings; AWS Compute blog, "Introducing faster polling scale-up for AWS
    Lambda functions configured with Amazon SQS", November 2023), `long_poll` (Amazon SQS developer guide, short and
    long polling), `batch_bytes` (AWS Lambda developer guide, Batching behavior).

    Not published by AWS, so check how much a result depends on them: all the others.

    Attributes:
        starting_pollers: Batches that are read and invoked at the same time when a mapping starts.
        added_per_minute: Concurrent batches added per minute while messages remain available.
        maximum_pollers: Most concurrent batches of one mapping.
        long_poll: Seconds that a ReceiveMessage waits for the first message, 20 at most. Not compressed: it ends
            as soon as a message arrives.
        batch_bytes: Largest event, in bytes, metadata of the messages included.
        minimum_pollers: AWS reduces concurrency after errors and throttles; it is unpublished how far. Also the least
            that AWS was seen to keep on an idle queue.
        error_factor: What one failed or throttled invoke multiplies the concurrency by. AWS: "gradually backs off".
        removed_per_minute: Concurrent batches removed per minute while no backlog is left, down to the start.
        throttle_retry: Waits between the invokes of a batch that is throttled.
        api_retry: Waits after SQS refused or failed a call of the mapping.
    """

    starting_pollers: int = 5
    added_per_minute: float = 300.0
    maximum_pollers: int = 1250
    long_poll: float = 20.0
    batch_bytes: int = 6 * 1024 * 1024
    minimum_pollers: int = 2
    error_factor: float = 0.9
    removed_per_minute: float = 300.0
    throttle_retry: Backoff = field(default=Backoff(base=0.5, cap=10.0))
    api_retry: Backoff = field(default=Backoff(base=0.1, cap=5.0))

    def compress(self, k: float) -> "SqsMappingProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            added_per_minute=self.added_per_minute * k,
            removed_per_minute=self.removed_per_minute * k,
            throttle_retry=self.throttle_retry.compress(k),
            api_retry=self.api_retry.compress(k),
        )


class PollerScaling:
    """How many batches a mapping reads and invokes at the same time.

    AWS Lambda developer guide, "Configuring scaling behavior for SQS event source mappings": five concurrent batches
    at the start; while messages remain available up to 300 more per minute; at most 1,250 per mapping, or
    ``MaximumConcurrency``, at which the mapping stops *reading*. "Creating and configuring an SQS event source
    mapping", back-off strategy for failed invocations: function errors and throttles make Lambda reduce the
    concurrency; with ``ReportBatchItemFailures``, failed messages do not. How fast it goes up within the minute, and
    how fast down, are parameters of the profile.
    """

    def __init__(self, profile: SqsMappingProfile, now: float, *, maximum_concurrency: int | None = None) -> None:
        self._profile = profile
        self._cap = self._cap_of(maximum_concurrency)
        self._pollers = float(self._start)
        self._observed_at = now

    @property
    def pollers(self) -> int:
        """Batches that may be read and invoked at the same time."""
        return int(self._pollers)

    def limit(self, maximum_concurrency: int | None) -> None:
        """Take over a changed ``MaximumConcurrency``; None is none."""
        self._cap = self._cap_of(maximum_concurrency)
        self._pollers = min(self._pollers, self._cap)

    def observe(self, now: float, *, backlog: bool) -> int:
        """Scale for the time since the last look, in which messages were still available (``backlog``) or not."""
        minutes = max(0.0, now - self._observed_at) / 60
        self._observed_at = now
        if backlog or self._pollers < self._start:
            self._pollers = min(self._cap, self._pollers + self._profile.added_per_minute * minutes)
        else:
            fewer = self._pollers - self._profile.removed_per_minute * minutes
            self._pollers = max(self._start, fewer)
        return self.pollers

    def back_off(self) -> int:
        """An invoke failed with a function error, or was throttled: reduce the concurrency."""
        floor = min(self._profile.minimum_pollers, self._cap)
        self._pollers = max(floor, self._pollers * self._profile.error_factor)
        return self.pollers

    @property
    def _start(self) -> int:
        return min(self._profile.starting_pollers, self._cap)

    def _cap_of(self, maximum_concurrency: int | None) -> int:
        return min(self._profile.maximum_pollers, maximum_concurrency or self._profile.maximum_pollers)


@dataclass(slots=True)
class Batching:
    """When a batch is closed: at its size, at the end of its window, or at 6 MB, whichever comes first.

    AWS Lambda developer guide, "Batching behavior". A window of 0 closes the batch with what the first read gave.

    Attributes:
        size: ``BatchSize``, in records.
        window: ``MaximumBatchingWindowInSeconds``.
        maximum_bytes: Largest event, in bytes.
        count: Records in the batch.
        bytes: Their size, in bytes.
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
