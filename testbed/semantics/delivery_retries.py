"""When SNS and EventBridge try a delivery again, and when they give it up; time and randomness are passed in.

Sources: Amazon SNS developer guide, Amazon SNS message delivery retries (AWS managed endpoints); Amazon EventBridge
user guide, Retrying events, and Using dead-letter queues to process undelivered events.

A delivery is one call, for example ``lambda:Invoke``: what the function does with the event is not part of it.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from testbed.semantics.backoff import Backoff

_CLIENT_ERROR, _FORBIDDEN, _NOT_FOUND, _THROTTLED, _SERVER_ERROR = 400, 403, 404, 429, 500
_THROTTLE_CODES: Final = ("Throttl", "TooManyRequests", "SlowDown", "ThroughputExceeded")
_MISSING_CODES: Final = ("NotFound", "NonExistent", "DoesNotExist")
_DENIED_CODES: Final = ("AccessDenied", "NotAuthorized", "AuthorizationError")
RETRIES_EXHAUSTED: Final = "MaximumRetryAttempts"
AGE_EXCEEDED: Final = "MaximumEventAgeInSeconds"


@dataclass(frozen=True, kw_only=True, slots=True)
class SnsProfile:
    """Numbers of SNS's deliveries to Lambda and SQS.

    The phases of the documented policy, whose attempts make the documented 100,015 with the first one among the
    immediate ones.

    Attributes:
        immediate_attempts: Attempts without a wait.
        pre_backoff_attempts: Attempts after those.
        pre_backoff_wait: Seconds before each of them.
        backoff_attempts: Attempts after those, with waits that grow.
        backoff_first: Seconds before the first of them.
        backoff_last: Seconds before the last of them. AWS does not name the exponential function in between; here every
            wait is the one before times the same factor.
        post_backoff_attempts: Attempts after those.
        post_backoff_wait: Seconds before each of them.
        jitter: The largest share by which a wait comes out longer. AWS publishes none.
        dead_letter_attempts: How often it is tried to send to the dead-letter queue. AWS publishes none.
        dead_letter_retry: Waits in between. Likewise.
    """

    immediate_attempts: int = 3
    pre_backoff_attempts: int = 2
    pre_backoff_wait: float = 1.0
    backoff_attempts: int = 10
    backoff_first: float = 1.0
    backoff_last: float = 20.0
    post_backoff_attempts: int = 100_000
    post_backoff_wait: float = 20.0
    jitter: float = 0.05
    dead_letter_attempts: int = 10
    dead_letter_retry: Backoff = field(default=Backoff(base=0.5, cap=20.0))

    def compress(self, k: float) -> "SnsProfile":
        """The same with every wait divided by ``k``."""
        return replace(
            self,
            pre_backoff_wait=self.pre_backoff_wait / k,
            backoff_first=self.backoff_first / k,
            backoff_last=self.backoff_last / k,
            post_backoff_wait=self.post_backoff_wait / k,
            dead_letter_retry=self.dead_letter_retry.compress(k),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsProfile:
    """Numbers of EventBridge's deliveries to the targets of rules.

    Attributes:
        maximum_retry_attempts: Retries, where the target's RetryPolicy does not say (185, which is the most as well).
        maximum_event_age: Seconds after which an event is given up, where the RetryPolicy does not say (24 hours).
        retry: Waits between attempts, exponential with jitter. AWS publishes no schedule: from 1 s, with a cap that
            makes 185 retries without jitter last a little less than 24 hours.
        dead_letter_attempts: How often it is tried to send to the dead-letter queue. AWS publishes none.
        dead_letter_retry: Waits in between. Likewise.
    """

    maximum_retry_attempts: int = 185
    maximum_event_age: float = 86_400.0
    retry: Backoff = field(default=Backoff(base=1.0, cap=480.0))
    dead_letter_attempts: int = 10
    dead_letter_retry: Backoff = field(default=Backoff(base=0.5, cap=20.0))

    def compress(self, k: float) -> "EventsProfile":
        """The same with every wait divided by ``k``; what a RetryPolicy says is the user's, and stays."""
        return replace(
            self,
            maximum_event_age=self.maximum_event_age / k,
            retry=self.retry.compress(k),
            dead_letter_retry=self.dead_letter_retry.compress(k),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """What a target of a rule says (EventBridge API reference, RetryPolicy).

    Attributes:
        maximum_retry_attempts: Retries, 0 to 185; None for the default.
        maximum_event_age: Seconds, 60 to 86,400; None for the default.
    """

    maximum_retry_attempts: int | None = None
    maximum_event_age: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to a delivery that failed.

    Attributes:
        code: The error code.
        status: HTTP status; 0 where nothing answered.
        message: Text for people.
    """

    code: str
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in ``wait`` seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No attempt more; ``condition`` says which limit was reached, and is None for an error that no retry mends."""

    condition: str | None


def is_throttle(failure: Failure) -> bool:
    """Whether the call was refused because there are too many; SQS and Kinesis say so with status 400."""
    return failure.status == _THROTTLED or any(code in failure.code for code in _THROTTLE_CODES)


def is_client_error(failure: Failure) -> bool:
    """Whether it is of no use to try again: what is refused is neither throttled nor hit by a failing service."""
    return _CLIENT_ERROR <= failure.status < _SERVER_ERROR and not is_throttle(failure)


class SnsDelivery:
    """SNS's policy for AWS managed endpoints."""

    def __init__(self, rules: SnsProfile) -> None:
        self._rules = rules

    def after(self, failure: Failure, *, attempts: int, age: float, spread: float) -> Retry | GiveUp:  # noqa: ARG002 - SNS looks at attempts alone
        """What follows the failure of attempt number ``attempts``.

        Args:
            failure: How it failed.
            attempts: Attempts until now, this one included.
            age: Seconds since the message was published.
            spread: From 0 to 1, the caller's jitter.
        """
        if is_client_error(failure):
            return GiveUp(None)
        wait = self._wait_after(attempts)
        return GiveUp(RETRIES_EXHAUSTED) if wait is None else Retry(wait * (1 + self._rules.jitter * spread))

    def _wait_after(self, attempts: int) -> float | None:
        rules = self._rules
        left = attempts - rules.immediate_attempts
        if left < 0:
            return 0.0
        if left < rules.pre_backoff_attempts:
            return rules.pre_backoff_wait
        left -= rules.pre_backoff_attempts
        if left < rules.backoff_attempts:
            share = left / (rules.backoff_attempts - 1) if rules.backoff_attempts > 1 else 0.0
            return float(rules.backoff_first * (rules.backoff_last / rules.backoff_first) ** share)
        left -= rules.backoff_attempts
        return rules.post_backoff_wait if left < rules.post_backoff_attempts else None


class EventsDelivery:
    """EventBridge's policy for a target that says ``policy``."""

    def __init__(self, rules: EventsProfile, policy: RetryPolicy) -> None:
        self._rules = rules
        wanted = policy.maximum_retry_attempts
        self._retries = rules.maximum_retry_attempts if wanted is None else wanted
        self._oldest = rules.maximum_event_age if policy.maximum_event_age is None else policy.maximum_event_age

    def after(self, failure: Failure, *, attempts: int, age: float, spread: float) -> Retry | GiveUp:
        """What follows the failure of attempt number ``attempts``; see `SnsDelivery.after`."""
        if is_client_error(failure):
            return GiveUp(None)
        if attempts > self._retries:
            return GiveUp(RETRIES_EXHAUSTED)
        wait = self._rules.retry.delay(attempts, spread)
        return GiveUp(AGE_EXCEEDED) if age + wait > self._oldest else Retry(wait)


def dead_letter_attributes(
    rule_arn: str, target_arn: str, failure: Failure, end: GiveUp, attempts: int
) -> dict[str, dict[str, str]]:
    """The message attributes of an event that EventBridge sends to a dead-letter queue, after ``attempts`` attempts.

    Documented are the names, and samples of error codes. Which of them stands for which error is this testbed's
    reading, and so is that EXHAUSTED_RETRY_CONDITION is left out where no limit was reached.
    """
    texts = {
        "RULE_ARN": rule_arn,
        "TARGET_ARN": target_arn,
        "ERROR_CODE": _error_code(failure),
        "ERROR_MESSAGE": failure.message or failure.code or "Unknown",
    }
    if end.condition is not None:
        texts["EXHAUSTED_RETRY_CONDITION"] = end.condition
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
    return attributes | {"RETRY_ATTEMPTS": {"DataType": "Number", "StringValue": str(attempts - 1)}}


def _error_code(failure: Failure) -> str:
    if failure.status == 0:
        return "CONNECTION_FAILURE"
    if is_throttle(failure):
        return "THROTTLING"
    if failure.status >= _SERVER_ERROR:
        return "ERROR_FROM_TARGET"
    if failure.status == _NOT_FOUND or any(code in failure.code for code in _MISSING_CODES):
        return "NO_RESOURCE"
    if failure.status == _FORBIDDEN or any(code in failure.code for code in _DENIED_CODES):
        return "NO_PERMISSIONS"
    return "SDK_CLIENT_ERROR"
