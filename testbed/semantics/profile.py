"""The numbers that AWS's rules run on: documented ones, and named parameters where AWS publishes none.

`aws` holds today's numbers; `Profile.compress` makes minutes of AWS's behaviour fit into a test.
"""

from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow with every failure in a row: ``base``, ``base * factor``, ... up to ``cap`` seconds.

    Attributes:
        base: The first wait, in seconds.
        cap: The longest wait, in seconds.
        factor: What each wait is multiplied by for the next.
    """

    base: float
    cap: float
    factor: float = 2.0

    def delay(self, failures: int, spread: float = 1.0) -> float:
        """Seconds to wait after ``failures`` failures in a row (1, 2, ...).

        ``spread``, from 0 to 1, is the caller's jitter: it takes up to half of the wait away.
        """
        exponent = min(failures - 1, 64)  # 64 doublings pass any cap; more would overflow a float
        return float(min(self.base * self.factor**exponent, self.cap) * (0.5 + 0.5 * spread))

    def compress(self, k: float) -> "Backoff":
        """The same back-off, ``k`` times faster."""
        return replace(self, base=self.base / k, cap=self.cap / k)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMappingProfile:
    """Numbers of event source mappings of Kinesis streams.

    Documented: `poll_interval` (AWS Lambda developer guide, Polling and batching streams: each shard is polled at a
    base rate of once per second), `batch_bytes` (the same guide, Batching behavior).

    Not published by AWS, so check how much a result depends on them: all the others.

    Attributes:
        poll_interval: Seconds between two reads of a shard that has nothing more to give.
        batch_bytes: Largest event, in bytes, metadata of the records included.
        discovery_interval: Seconds between two looks for new shards.
        error_retry: Waits before a batch is retried after a function error.
        throttle_retry: Waits before a batch is retried after a throttle or an error of the Lambda service.
        api_retry: Waits after Kinesis, SQS or SNS refused or failed a call of the mapping.
    """

    poll_interval: float = 1.0
    batch_bytes: int = 6 * 1024 * 1024
    discovery_interval: float = 10.0
    error_retry: Backoff = field(default=Backoff(base=0.25, cap=30.0))
    throttle_retry: Backoff = field(default=Backoff(base=0.5, cap=10.0))
    api_retry: Backoff = field(default=Backoff(base=0.2, cap=5.0))

    def compress(self, k: float) -> "StreamMappingProfile":
        """The same rules with every wait of AWS ``k`` times shorter."""
        return replace(
            self,
            poll_interval=self.poll_interval / k,
            discovery_interval=self.discovery_interval / k,
            error_retry=self.error_retry.compress(k),
            throttle_retry=self.throttle_retry.compress(k),
            api_retry=self.api_retry.compress(k),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All numbers together.

    Attributes:
        sqs: Event source mappings of SQS queues.
        stream: Event source mappings of Kinesis streams.
    """

    sqs: SqsMappingProfile = field(default=SqsMappingProfile())
    stream: StreamMappingProfile = field(default=StreamMappingProfile())

    def compress(self, k: float) -> "Profile":
        """The same rules with every wait on AWS's side divided by ``k``.

        What the user configures (visibility timeout, batching window, function timeout, maximum record age) stays.
        """
        if k <= 0:
            raise ValueError(f"compress() divides by its argument, which must be above 0, not {k}")
        return replace(self, sqs=self.sqs.compress(k), stream=self.stream.compress(k))


aws: Final = Profile()
