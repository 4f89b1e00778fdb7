"""Which hop of the journal becomes which CloudWatch metric, with its dimensions, unit and value; time is passed in.

Sources: AWS Lambda developer guide, Types of metrics for Lambda functions, and Event source mapping metrics; Amazon
SQS developer guide, Available CloudWatch metrics for Amazon SQS; Amazon Kinesis developer guide, Monitoring;
Amazon DynamoDB developer guide, DynamoDB metrics and dimensions; API Gateway developer guide, REST API dimensions and
metrics.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

MOST_VALUES: Final = 150
"""Distinct values in one datum (CloudWatch API reference, MetricDatum)."""
_MINUTE: Final = 60
_OK: Final = 200
_CLIENT_ERROR: Final = 400
_THROTTLED: Final = 429
_SERVER_ERROR: Final = 500

Samples = dict[float, float]
"""How often there was each value."""
Dimensions = tuple[tuple[str, str], ...]
_Fields = Mapping[str, Any]
_Subject = tuple[str, ...]
_Tally = defaultdict[str, Samples]

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
    "GetRecords.Bytes": "Bytes",
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
    """Adds up, by minute, what hops mean to CloudWatch.

    A hop costs a few dictionary entries: it is counted for the most special set of dimensions only, and added up for
    the others when it is taken.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[int, _Subject], _Tally] = {}

    def observe(self, hop: str, fields: _Fields, now: float) -> None:
        """A line of the journal.

        Args:
            hop: Which.
            fields: What it says.
            now: Seconds since 1970. The metrics count for the minute in which the hop began.
        """
        meaning = _HOPS.get(hop)
        if meaning is not None:
            meaning(self, fields, now - (fields.get("ms") or 0.0) / 1000)

    def add(self, at: float, subject: _Subject, name: str, value: float, times: float = 1) -> None:
        """Count a value ``times`` times in the minute of the second ``at``."""
        _count(self.tally(at, subject)[name], value, times)

    def tally(self, at: float, subject: _Subject) -> _Tally:
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
                        _count(into, value, times)
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
        _count(few, sum(value * each for value, each in part) / times, times)
    return few


def _count(samples: Samples, value: float, times: float = 1) -> None:
    samples[value] = samples.get(value, 0) + times


@lru_cache(maxsize=4096)
def _places(subject: _Subject, name: str) -> tuple[tuple[str, Dimensions], ...]:
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


def _function(fields: _Fields) -> _Subject:
    """The function, the version or alias that was asked for, and for an alias the version that ran."""
    name, qualifier, version = fields["function"], fields.get("qualifier"), fields.get("version")
    if not qualifier:
        return ("function", name, name)
    if version is None or qualifier == version:
        return ("function", name, f"{name}:{qualifier}")
    return ("function", name, f"{name}:{qualifier}", version)


def _invoked(metrics: Metrics, fields: _Fields, at: float) -> None:
    """An invoke; a throttled one is neither an invocation nor an error."""
    status = fields["status"]
    throttled = status == _THROTTLED
    if status != _OK and not throttled:
        return
    tally = metrics.tally(at, _function(fields))
    _count(tally["Throttles"], int(throttled))
    if not throttled:
        _count(tally["Invocations"], 1)
        _count(tally["Errors"], int(fields.get("cause") is not None))
        if (duration := fields.get("duration")) is not None:
            _count(tally["Duration"], round(duration, 2))
        if (name := _PROVISIONED.get(fields.get("provisioned"))) is not None:
            _count(tally[name], 1)
    if (running := fields.get("running")) is not None:
        _concurrent(metrics, fields, running, at)


_PROVISIONED: Final[Mapping[bool | str | None, str]] = {
    True: "ProvisionedConcurrencyInvocations",
    "spillover": "ProvisionedConcurrencySpilloverInvocations",
}


def _concurrent(metrics: Metrics, fields: _Fields, running: Mapping[str, float], at: float) -> None:
    """What ran at once when an invoke was admitted, it included: see `Concurrency.in_use`."""
    tally = metrics.tally(at, ("function", fields["function"]))
    _count(tally["ConcurrentExecutions"], running["function"])
    if allocated := running.get("allocated"):
        version = metrics.tally(at, _function(fields)[:3])
        _count(version["ProvisionedConcurrentExecutions"], running["provisioned"])
        _count(version["ProvisionedConcurrencyUtilization"], running["provisioned"] / allocated)
    account = metrics.tally(at, ("function",))
    _count(account["ConcurrentExecutions"], running["account"])
    _count(account["UnreservedConcurrentExecutions"], running["unreserved"])
    _count(account["ClaimedAccountConcurrency"], running["claimed"])


def _asynchronous(metrics: Metrics, fields: _Fields, at: float) -> None:
    """What became of an asynchronous invoke; its age is that at which it was done with."""
    if fields.get("function") is None:
        return
    tally = metrics.tally(at, ("function", fields["function"]))
    name = _ASYNC_EVENTS.get(fields["event"])
    if name is not None:
        _count(tally[name], 1)
    if (age := fields.get("age")) is not None:
        _count(tally["AsyncEventAge"], round(age * 1000))


_ASYNC_EVENTS: Final = {
    "accepted": "AsyncEventsReceived",
    "dropped": "AsyncEventsDropped",
    "dead-letter failed": "DeadLetterErrors",
    "destination failed": "DestinationDeliveryFailures",
}


def _mapping(metrics: Metrics, fields: _Fields, at: float) -> None:
    """What a poller did; the counts of events are told only where the mapping asks for them."""
    if (age := fields.get("iterator_age_ms")) is not None:
        metrics.add(at, ("function", fields["function"]), "IteratorAge", round(age))
    for name, value in _event_counts(fields):
        if value:
            metrics.add(at, ("mapping", fields["mapping"]), name, value)


def _event_counts(fields: _Fields) -> Iterator[tuple[str, float]]:
    event, records = fields["event"], fields.get("records", 0)
    if event in {"batch", "throttled"}:
        yield "InvokedEventCount", records
        yield "FailedInvokeEventCount", records if event == "throttled" else fields["failed"]
    elif event in _EVENT_COUNTS:
        yield _EVENT_COUNTS[event], records


_POLLER_CALLS: Final = {
    "ReceiveMessage": "PolledEventCount",
    "GetRecords": "PolledEventCount",
    "DeleteMessageBatch": "DeletedEventCount",
}
_EVENT_COUNTS: Final = {
    "filtered": "FilteredOutEventCount",
    "discarded": "DroppedEventCount",
    "destination delivered": "OnFailureDestinationDeliveredEventCount",
}


def _aws_call(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A call of a service; of a queue, only what its mapping counts: messages are counted where the queue is."""
    caller: str = fields["caller"]
    if caller.startswith("mapping:") and fields.get("records") and (name := _POLLER_CALLS.get(fields["operation"])):
        metrics.add(at, ("mapping", caller.removeprefix("mapping:")), name, fields["records"])
    meaning = _SERVICES.get(fields["service"])
    if meaning is not None and fields["resource"]:
        meaning(metrics, fields, at)


def _kinesis(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A call of a stream. ``records`` are those that were taken or read, ``failed`` those that were refused."""
    operation = fields["operation"]
    tally = metrics.tally(at, ("stream", fields["resource"]))
    refused = fields.get("error") == "ProvisionedThroughputExceededException"
    if operation in {"PutRecord", "PutRecords"}:
        records, failed = fields.get("records", 0), fields.get("failed", 0)
        _count(tally[f"{operation}.Success"], int(not fields.get("error")))
        _count(tally["WriteProvisionedThroughputExceeded"], fields.get("throttled", 0) + int(refused))
        if records:
            size = fields.get("bytes", 0)
            _count(tally["IncomingRecords"], 1, records)
            _count(tally["IncomingBytes"], size)
            _count(tally[f"{operation}.Bytes"], size)
        if operation == "PutRecords" and not fields.get("error"):
            _count(tally["PutRecords.TotalRecords"], records + failed)
            _count(tally["PutRecords.SuccessfulRecords"], records)
            _count(tally["PutRecords.FailedRecords"], failed - fields.get("throttled", 0))
            _count(tally["PutRecords.ThrottledRecords"], fields.get("throttled", 0))
    elif operation == "GetRecords":
        _count(tally["GetRecords.Success"], int(not fields.get("error")))
        _count(tally["ReadProvisionedThroughputExceeded"], int(refused))
        if (age := fields.get("behind_ms")) is not None:
            _count(tally["GetRecords.IteratorAgeMilliseconds"], age)
            _count(tally["GetRecords.Records"], fields.get("records", 0))


def _dynamodb(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A call of a table that was throttled, as a whole: what of a batch is left unprocessed is its own event."""
    if fields.get("error") not in _TABLE_THROTTLES:
        return
    for table in fields["resource"].split(","):
        tally = metrics.tally(at, ("table", table, fields["operation"]))
        _count(tally["ThrottledRequests"], 1)
        reads = fields["operation"] in _READS
        metrics.add(at, ("table", table), "ReadThrottleEvents" if reads else "WriteThrottleEvents", 1)


_READS: Final = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_TABLE_THROTTLES: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
    }
)
_Meaning = Callable[[Metrics, _Fields, float], None]
_SERVICES: Final[Mapping[str, _Meaning]] = {"kinesis": _kinesis, "dynamodb": _dynamodb}


def _api(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A request to a REST API; what reached no stage counts for nobody."""
    name, stage = fields.get("api"), fields.get("stage")
    if not name or not stage:
        return
    tally = metrics.tally(at, ("api", name, stage))
    status = fields["status"]
    _count(tally["Count"], 1)
    _count(tally["4XXError"], int(_CLIENT_ERROR <= status < _SERVER_ERROR))
    _count(tally["5XXError"], int(status >= _SERVER_ERROR))
    _count(tally["Latency"], round(fields["ms"]))
    if (integration := fields.get("integration_ms")) is not None:
        _count(tally["IntegrationLatency"], round(integration))


def _url(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A request to a function URL; one that nobody has counts for nobody."""
    if fields["function"] is None:
        return
    tally = metrics.tally(at, _function(fields))
    status = fields["status"]
    _count(tally["UrlRequestCount"], 1)
    _count(tally["Url4xxCount"], int(_CLIENT_ERROR <= status < _SERVER_ERROR))
    _count(tally["Url5xxCount"], int(status >= _SERVER_ERROR))
    _count(tally["UrlRequestLatency"], round(fields["ms"]))


_HOPS: Final[Mapping[str, _Meaning]] = {
    "lambda": _invoked,
    "async": _asynchronous,
    "mapping": _mapping,
    "aws": _aws_call,
    "api": _api,
    "url": _url,
}


def batches(data: list[Datum], most: int) -> Iterator[tuple[str, list[Datum]]]:
    """The data by namespace, at most ``most`` at a time."""
    ordered = sorted(data, key=lambda datum: datum.namespace)
    for namespace, group in itertools.groupby(ordered, key=lambda datum: datum.namespace):
        while part := list(itertools.islice(group, most)):
            yield namespace, part
