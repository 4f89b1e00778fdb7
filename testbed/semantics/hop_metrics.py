"""Which hop of the journal counts for which metric of CloudWatch, and with which value; sources as in `metrics`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from testbed.semantics.metrics import Metrics, Subject, count

_OK: Final = 200
_CLIENT_ERROR: Final = 400
_THROTTLED: Final = 429
_SERVER_ERROR: Final = 500
_Fields = Mapping[str, Any]
_Meaning = Callable[[Metrics, _Fields, float], None]


def observe(metrics: Metrics, hop: str, fields: _Fields, now: float) -> None:
    """Count a line of the journal.

    Args:
        metrics: Where it is counted.
        hop: Which.
        fields: What it says.
        now: Seconds since 1970. It counts for the minute in which the hop began.
    """
    meaning = _HOPS.get(hop)
    if meaning is not None:
        meaning(metrics, fields, now - (fields.get("ms") or 0.0) / 1000)


def event_counts_of(mappings: Iterable[_Fields]) -> frozenset[str]:
    """UUIDs of those whose MetricsConfig asks for EventCount (API reference, EventSourceMappingMetricsConfig)."""
    return frozenset(
        mapping["UUID"]
        for mapping in mappings
        if "EventCount" in ((mapping.get("MetricsConfig") or {}).get("Metrics") or ())
    )


def _function(fields: _Fields) -> Subject:
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
    count(tally["Throttles"], int(throttled))
    if not throttled:
        count(tally["Invocations"], 1)
        count(tally["Errors"], int(fields.get("cause") is not None))
        if (duration := fields.get("duration")) is not None:
            count(tally["Duration"], round(duration, 2))
        if (age := fields.get("age")) is not None:
            metrics.add(at, ("function", fields["function"]), "AsyncEventAge", round(age * 1000))
        if (name := _PROVISIONED.get(fields.get("provisioned"))) is not None:
            count(tally[name], 1)
    if (running := fields.get("running")) is not None:
        _concurrent(metrics, fields, running, at)


_PROVISIONED: Final[Mapping[bool | str | None, str]] = {
    True: "ProvisionedConcurrencyInvocations",
    "spillover": "ProvisionedConcurrencySpilloverInvocations",
}


def _concurrent(metrics: Metrics, fields: _Fields, running: Mapping[str, float], at: float) -> None:
    """What ran at once when an invoke was admitted, it included: see `Concurrency.in_use`."""
    tally = metrics.tally(at, ("function", fields["function"]))
    count(tally["ConcurrentExecutions"], running["function"])
    if allocated := running.get("allocated"):
        version = metrics.tally(at, _function(fields)[:3])
        count(version["ProvisionedConcurrentExecutions"], running["provisioned"])
        count(version["ProvisionedConcurrencyUtilization"], running["provisioned"] / allocated)
    account = metrics.tally(at, ("function",))
    count(account["ConcurrentExecutions"], running["account"])
    count(account["UnreservedConcurrentExecutions"], running["unreserved"])
    count(account["ClaimedAccountConcurrency"], running["claimed"])


def _asynchronous(metrics: Metrics, fields: _Fields, at: float) -> None:
    """What became of an asynchronous invoke."""
    name = _ASYNC_EVENTS.get(fields["event"])
    if name is not None:
        metrics.add(at, ("function", fields["function"]), name, 1)


_ASYNC_EVENTS: Final = {
    "accepted": "AsyncEventsReceived",
    "dropped": "AsyncEventsDropped",
    "dead-letter failed": "DeadLetterErrors",
    "destination failed": "DestinationDeliveryFailures",
}


def _mapping(metrics: Metrics, fields: _Fields, at: float) -> None:
    """What a poller did."""
    if (age := fields.get("iterator_age_ms")) is not None:
        metrics.add(at, ("function", fields["function"]), "IteratorAge", round(age))
    if fields["mapping"] in metrics.event_counts:
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
    uuid = fields["caller"].removeprefix("mapping:")
    if uuid in metrics.event_counts and fields.get("records") and (name := _POLLER_CALLS.get(fields["operation"])):
        metrics.add(at, ("mapping", uuid), name, fields["records"])
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
        count(tally[f"{operation}.Success"], int(not fields.get("error")))
        count(tally["WriteProvisionedThroughputExceeded"], fields.get("throttled", 0) + int(refused))
        if records:
            size = fields.get("bytes", 0)
            count(tally["IncomingRecords"], 1, records)
            count(tally["IncomingBytes"], size)
            count(tally[f"{operation}.Bytes"], size)
        if operation == "PutRecords" and not fields.get("error"):
            count(tally["PutRecords.TotalRecords"], records + failed)
            count(tally["PutRecords.SuccessfulRecords"], records)
            count(tally["PutRecords.FailedRecords"], failed - fields.get("throttled", 0))
            count(tally["PutRecords.ThrottledRecords"], fields.get("throttled", 0))
    elif operation == "GetRecords":
        count(tally["GetRecords.Success"], int(not fields.get("error")))
        count(tally["ReadProvisionedThroughputExceeded"], int(refused))
        if (age := fields.get("behind_ms")) is not None:
            count(tally["GetRecords.IteratorAgeMilliseconds"], age)
            count(tally["GetRecords.Records"], fields.get("records", 0))


def _dynamodb(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A call of a table that was throttled, as a whole: what of a batch is left unprocessed is its own event."""
    if fields.get("error") not in _TABLE_THROTTLES:
        return
    for table in fields["resource"].split(","):
        tally = metrics.tally(at, ("table", table, fields["operation"]))
        count(tally["ThrottledRequests"], 1)
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
_SERVICES: Final[Mapping[str, _Meaning]] = {"kinesis": _kinesis, "dynamodb": _dynamodb}


def _api(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A request to a REST API; what reached no stage counts for nobody."""
    name, stage = fields.get("api"), fields.get("stage")
    if not name or not stage:
        return
    tally = metrics.tally(at, ("api", name, stage))
    status = fields["status"]
    count(tally["Count"], 1)
    count(tally["4XXError"], int(_CLIENT_ERROR <= status < _SERVER_ERROR))
    count(tally["5XXError"], int(status >= _SERVER_ERROR))
    count(tally["Latency"], round(fields["ms"]))
    if (integration := fields.get("integration_ms")) is not None:
        count(tally["IntegrationLatency"], round(integration))


def _url(metrics: Metrics, fields: _Fields, at: float) -> None:
    """A request to a function URL; one that nobody has counts for nobody."""
    if fields["function"] is None:
        return
    tally = metrics.tally(at, _function(fields))
    status = fields["status"]
    count(tally["UrlRequestCount"], 1)
    count(tally["Url4xxCount"], int(_CLIENT_ERROR <= status < _SERVER_ERROR))
    count(tally["Url5xxCount"], int(status >= _SERVER_ERROR))
    count(tally["UrlRequestLatency"], round(fields["ms"]))


_HOPS: Final[Mapping[str, _Meaning]] = {
    "lambda": _invoked,
    "async": _asynchronous,
    "mapping": _mapping,
    "aws": _aws_call,
    "api": _api,
    "url": _url,
}
