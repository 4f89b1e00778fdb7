"""CloudWatch's metrics of the services: namespaces, dimensions and units, added up by minute.

`testbed.semantics.hop_metrics` says what counts. Sources: AWS Lambda developer guide, Types of metrics for Lambda
functions; Amazon SQS developer guide, Available CloudWatch metrics for Amazon SQS; Amazon Kinesis developer guide,
Monitoring; Amazon DynamoDB developer guide, DynamoDB metrics and dimensions; API Gateway developer guide, REST API
dimensions and metrics.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MOST_VALUES: Final = 150
"""Distinct values in one datum (CloudWatch API reference, MetricDatum)."""
_MINUTE: Final = 60

Samples = dict[float, float]
"""How often there was each value."""
Dimensions = tuple[tuple[str, str], ...]
Subject = tuple[str, ...]
"""What something is counted for: its kind, a key of ``_LEVELS``, and the values of its dimensions."""
Tally = defaultdict[str, Samples]
"""Samples by name of the metric."""

_LEVELS: Final[Mapping[str, tuple[str, tuple[tuple[str, ...], ...]]]] = {
    "function": (
        "AWS/Lambda",
        ((), ("FunctionName",), ("FunctionName", "Resource"), ("FunctionName", "Resource", "ExecutedVersion")),
    ),
    "mapping": ("AWS/Lambda", (("EventSourceMappingUUID",),)),
    "queue": ("AWS/SQS", (("QueueName",),)),
    "stream": ("AWS/Kinesis", (("StreamName",),)),
    "table": ("AWS/DynamoDB", (("TableName",), ("TableName", "Operation"))),
    "api": ("AWS/ApiGateway", (("ApiName",), ("ApiName", "Stage"))),
}
"""Namespace, and the sets of dimensions that each subject counts for, as far as it has values for them."""

_NOT_ADDED_UP: Final = frozenset(
    {
        "ConcurrentExecutions",
        "ProvisionedConcurrentExecutions",
        "ProvisionedConcurrencyUtilization",
    }
)
"""The account's is no sum of the functions', nor a function's of its versions'."""
_ONLY_BY_OPERATION: Final = frozenset({"ThrottledRequests"})
_UNITS: Final = {
    "Duration": "Milliseconds",
    "IteratorAge": "Milliseconds",
    "AsyncEventAge": "Milliseconds",
    "UrlRequestLatency": "Milliseconds",
    "Latency": "Milliseconds",
    "IntegrationLatency": "Milliseconds",
    "GetRecords.IteratorAgeMilliseconds": "Milliseconds",
    "SentMessageSize": "Bytes",
    "IncomingBytes": "Bytes",
    "PutRecord.Bytes": "Bytes",
    "PutRecords.Bytes": "Bytes",
    "ApproximateAgeOfOldestMessage": "Seconds",
}


@dataclass(frozen=True, slots=True)
class Datum:
    """What CloudWatch is told of one metric and one minute.

    Attributes:
        namespace: Of the metric, ``"AWS/Lambda"``.
        name: Of the metric.
        dimensions: Name and value of each.
        unit: CloudWatch's word for it.
        minute: Its start, in seconds since 1970.
        samples: How often there was each value, at most `MOST_VALUES` of them.
    """

    namespace: str
    name: str
    dimensions: Dimensions
    unit: str
    minute: int
    samples: Samples


class Metrics:
    """Adds up, by minute, what is told to CloudWatch.

    To count costs a dictionary entry: it is done for the most special set of dimensions only, and added up for the
    others when it is taken.

    Attributes:
        event_counts: UUIDs of the mappings that ask for counts of their events.
    """

    def __init__(self) -> None:
        self.event_counts: AbstractSet[str] = frozenset()
        self._tallies: dict[tuple[int, Subject], Tally] = {}

    def add(self, at: float, subject: Subject, name: str, value: float, times: float = 1) -> None:
        """Count a value ``times`` times in the minute of the second ``at``."""
        count(self.tally(at, subject)[name], value, times)

    def tally(self, at: float, subject: Subject) -> Tally:
        """What is counted for ``subject`` in the minute of the second ``at``."""
        key = (int(at) // _MINUTE * _MINUTE, subject)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = defaultdict(dict)
        return tally

    def take(self) -> list[Datum]:
        """What was counted since the last time."""
        tallies, self._tallies = self._tallies, {}
        merged: defaultdict[tuple[str, str, Dimensions, int], Samples] = defaultdict(dict)
        for (minute, subject), tally in tallies.items():
            for name, samples in tally.items():
                few = condensed(samples)
                for namespace, dimensions in _places(subject, name):
                    into = merged[namespace, name, dimensions, minute]
                    for value, times in few.items():
                        count(into, value, times)
        return [
            Datum(namespace, name, dimensions, _UNITS.get(name, "Count"), minute, condensed(samples))
            for (namespace, name, dimensions, minute), samples in merged.items()
        ]


def condensed(samples: Samples) -> Samples:
    """The same with at most `MOST_VALUES` values: neighbours become their mean, the two ends stay.

    Count, sum, minimum and maximum are kept.
    """
    if len(samples) <= MOST_VALUES:
        return samples
    ordered = sorted(samples.items())
    inner = ordered[1:-1]
    groups = MOST_VALUES - 2
    few = dict((ordered[0], ordered[-1]))
    for number in range(groups):
        part = inner[len(inner) * number // groups : len(inner) * (number + 1) // groups]
        times = sum(each for _, each in part)
        count(few, sum(value * each for value, each in part) / times, times)
    return few


def count(samples: Samples, value: float, times: float = 1) -> None:
    """Count ``value`` so often."""
    samples[value] = samples.get(value, 0) + times


@lru_cache(maxsize=4096)
def _places(subject: Subject, name: str) -> tuple[tuple[str, Dimensions], ...]:
    """Namespace and dimensions that a metric of ``subject`` counts for."""
    namespace, levels = _LEVELS[subject[0]]
    values = subject[1:]
    return tuple(
        (namespace, tuple(zip(names, values, strict=False)))
        for names in levels
        if len(names) <= len(values)
        and not (name in _NOT_ADDED_UP and len(names) < len(values))
        and not (name in _ONLY_BY_OPERATION and names[-1:] != ("Operation",))
    )


def batches(data: list[Datum], most: int) -> Iterator[tuple[str, list[Datum]]]:
    """The data by namespace, at most ``most`` at a time."""
    ordered = sorted(data, key=lambda datum: datum.namespace)
    for namespace, group in itertools.groupby(ordered, key=lambda datum: datum.namespace):
        while part := list(itertools.islice(group, most)):
            yield namespace, part
