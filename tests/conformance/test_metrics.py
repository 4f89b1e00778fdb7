"""Which metrics of CloudWatch a hop counts for: AWS's documents on the metrics of each service."""

from typing import Any

import pytest

from testbed.semantics.concurrency import Concurrency, Limits, Served
from testbed.semantics.hop_metrics import event_counts_of, observe
from testbed.semantics.metrics import MOST_VALUES, Metrics, Samples, batches, condensed

_NOON = 1_795_521_600.0
_RUNNING = {"function": 2, "account": 5, "unreserved": 3, "claimed": 13}
_OF_VERSION = {"ProvisionedConcurrentExecutions", "ProvisionedConcurrencyUtilization"}
Told = dict[tuple[str, str, str], Samples]


def told(*hops: tuple[str, dict[str, Any]], now: float = _NOON, event_counts: tuple[str, ...] = ()) -> Told:
    """By namespace, metric and values of the dimensions: what CloudWatch is told of these hops."""
    metrics = Metrics()
    metrics.event_counts = frozenset(event_counts)
    for hop, fields in hops:
        observe(metrics, hop, fields, now)
    return {
        (each.namespace.removeprefix("AWS/"), each.name, ",".join(value for _, value in each.dimensions)): each.samples
        for each in metrics.take()
    }


def invoke(**fields: object) -> tuple[str, dict[str, Any]]:
    return "lambda", {"function": "f", "status": 200, "ms": 40.0, "duration": 12.346, "cause": None, **fields}


@pytest.mark.rule("metrics.invocations")
def test_an_error_is_an_invocation_and_a_throttle_is_none() -> None:
    """Lambda developer guide: Invocations include function errors, and not throttled requests, nor do Errors."""
    throttled = invoke(status=429, duration=None, cause="throttle")
    found = told(invoke(), invoke(cause="timeout"), throttled, invoke(status=404, duration=None, cause="x"))
    assert found["Lambda", "Invocations", "f"] == {1: 2}
    assert found["Lambda", "Errors", "f"] == {0: 1, 1: 1}
    assert found["Lambda", "Throttles", "f"] == {0: 2, 1: 1}
    assert found["Lambda", "Duration", "f"] == {12.35: 2}


@pytest.mark.rule("metrics.lambda-dimensions")
def test_an_invoke_counts_for_account_function_alias_and_version() -> None:
    """Lambda developer guide: dimensions FunctionName, Resource, and ExecutedVersion for an alias."""
    alias, number, plain = (
        invoke(qualifier="live", version="3"),
        invoke(qualifier="3", version="3"),
        invoke(version="3"),
    )
    found = told(alias, number, plain)
    counts = {where: samples for (_, name, where), samples in found.items() if name == "Invocations"}
    assert counts == {
        "": {1: 3}, "f": {1: 3}, "f,f": {1: 1}, "f,f:live": {1: 1}, "f,f:3": {1: 1}, "f,f:live,3": {1: 1},
    }  # fmt: skip


@pytest.mark.rule("metrics.concurrency")
def test_concurrency_of_the_account_is_no_sum_of_functions() -> None:
    """Lambda developer guide: ConcurrentExecutions of function and account; the rest of the account only."""
    found = told(invoke(running=_RUNNING), invoke(running=_RUNNING))
    concurrency = {key[1:]: samples for key, samples in found.items() if "Concurr" in key[1]}
    assert concurrency == {
        ("ConcurrentExecutions", "f"): {2: 2},
        ("ConcurrentExecutions", ""): {5: 2},
        ("UnreservedConcurrentExecutions", ""): {3: 2},
        ("ClaimedAccountConcurrency", ""): {13: 2},
    }


@pytest.mark.rule("metrics.concurrency")
def test_what_is_in_use_by_function_and_account() -> None:
    """Lambda developer guide, Monitoring concurrency: what is reserved or provisioned is claimed, used or not."""
    concurrency = Concurrency(Limits())
    concurrency.reserve("reserved", 10)
    concurrency.provision("provisioned", "1", 3)
    for function, version in [("reserved", "$LATEST"), ("provisioned", "1"), ("f", "$LATEST"), ("f", "2")]:
        assert isinstance(concurrency.admit(function, version, now=0.0), Served)
    assert concurrency.in_use("f") == {"function": 2, "account": 4, "unreserved": 2, "claimed": 15}
    assert concurrency.in_use("provisioned", "1") == {
        "function": 1, "account": 4, "unreserved": 2, "claimed": 15, "provisioned": 1, "allocated": 3,
    }  # fmt: skip


@pytest.mark.rule("metrics.provisioned")
def test_invokes_on_provisioned_concurrency_and_beside_it() -> None:
    """Lambda developer guide, Concurrency metrics: utilization 0.5 is 50 per cent, of a version or an alias."""
    running = {**_RUNNING, "provisioned": 1, "allocated": 2}
    alias = {"qualifier": "live", "version": "3", "running": running}
    found = told(*(invoke(provisioned=kind, **alias) for kind in (True, True, "spillover", False)))
    assert found["Lambda", "ProvisionedConcurrencyInvocations", "f"] == {1: 2}
    assert found["Lambda", "ProvisionedConcurrencySpilloverInvocations", "f"] == {1: 1}
    assert found["Lambda", "Invocations", "f"] == {1: 4}
    of_version = {key: samples for key, samples in found.items() if key[1] in _OF_VERSION}
    assert of_version == {
        ("Lambda", "ProvisionedConcurrentExecutions", "f,f:live"): {1: 4},
        ("Lambda", "ProvisionedConcurrencyUtilization", "f,f:live"): {0.5: 4},
    }


@pytest.mark.rule("metrics.timestamp")
def test_a_hop_counts_for_the_minute_in_which_it_began() -> None:
    """Lambda developer guide: the timestamp of a data point is when the function was invoked."""
    metrics = Metrics()
    observe(metrics, *invoke(ms=2000.0), _NOON + 1)
    observe(metrics, *invoke(ms=500.0), _NOON + 1)
    assert {each.minute for each in metrics.take()} == {_NOON - 60, _NOON}
    assert metrics.take() == []


@pytest.mark.rule("metrics.async")
@pytest.mark.parametrize(
    ("event", "metric"),
    [
        ("accepted", "AsyncEventsReceived"),
        ("dropped", "AsyncEventsDropped"),
        ("dead-letter failed", "DeadLetterErrors"),
        ("destination failed", "DestinationDeliveryFailures"),
    ],
)
def test_what_becomes_of_an_asynchronous_invoke(event: str, metric: str) -> None:
    """Lambda developer guide, Asynchronous invocation metrics."""
    found = told(("async", {"event": event, "function": "f"}), ("async", {"event": "error", "cause": "a bug"}))
    assert {name: samples for (_, name, where), samples in found.items() if where == "f"} == {metric: {1: 1}}


@pytest.mark.rule("metrics.async")
def test_the_age_of_an_event_is_that_at_which_the_function_is_invoked() -> None:
    """Lambda developer guide: AsyncEventAge, at each attempt; a throttled one invokes nothing."""
    throttled = invoke(status=429, duration=None, cause="throttle", age=0.5)
    found = told(invoke(age=0.0002, cause="error"), throttled, invoke(age=1.5002), invoke())
    assert found["Lambda", "AsyncEventAge", "f"] == {0: 1, 1500: 1}


@pytest.mark.rule("metrics.mapping-counts")
def test_events_of_a_mapping_by_what_became_of_them() -> None:
    """Lambda developer guide, Event source mapping metrics: a throttled batch counts as invoked and failed again."""
    common: dict[str, Any] = {"mapping": "u", "function": "f"}
    calls = [
        ("aws", {"service": "sqs", "operation": name, "resource": "q", "caller": caller, "records": records})
        for name, caller, records in [
            ("ReceiveMessage", "mapping:u", 10),
            ("DeleteMessageBatch", "mapping:u", 6),
            ("ReceiveMessage", "client", 3),
        ]
    ]
    hops = [
        ("mapping", {**common, "event": event, "records": records, "failed": 2})
        for event, records in [("throttled", 8), ("batch", 8), ("filtered", 2), ("discarded", 4)]
    ]
    assert told(*calls, *hops, event_counts=("another",)) == {}
    found = told(*calls, *hops, event_counts=("u",))
    assert {key[1:]: samples for key, samples in found.items()} == {
        ("PolledEventCount", "u"): {10: 1},
        ("DeletedEventCount", "u"): {6: 1},
        ("InvokedEventCount", "u"): {8: 2},
        ("FailedInvokeEventCount", "u"): {8: 1, 2: 1},
        ("FilteredOutEventCount", "u"): {2: 1},
        ("DroppedEventCount", "u"): {4: 1},
    }


@pytest.mark.rule("metrics.mapping-config")
def test_a_mapping_has_counts_of_events_if_it_asks_for_them() -> None:
    """Lambda API reference, EventSourceMappingMetricsConfig: Metrics includes EventCount."""
    configurations: list[Any] = [None, {}, {"Metrics": []}, {"Metrics": ["EventCount"]}, {"Metrics": ["ErrorCount"]}]
    entries = [{"UUID": str(number), "MetricsConfig": found} for number, found in enumerate(configurations)]
    assert event_counts_of([*entries, {"UUID": "silent"}]) == {"3"}


@pytest.mark.rule("metrics.iterator-age")
def test_the_age_of_the_last_record_of_a_batch() -> None:
    """Lambda developer guide: IteratorAge, when a batch of a stream is sent to the function."""
    hop = {"event": "batch", "mapping": "u", "function": "f", "records": 1, "failed": 0, "iterator_age_ms": 250.4}
    assert told(("mapping", hop))["Lambda", "IteratorAge", "f"] == {250: 1}


@pytest.mark.rule("metrics.kinesis")
def test_puts_reads_and_refusals_of_a_stream() -> None:
    """Kinesis developer guide: a record that a shard refuses is throttled, one that Kinesis lost is failed."""
    common = {"service": "kinesis", "resource": "s", "caller": "client"}
    puts = {**common, "operation": "PutRecords", "records": 7, "bytes": 70, "failed": 3, "throttled": 2}
    read = {**common, "operation": "GetRecords", "records": 5, "behind_ms": 900}
    refused = {**common, "operation": "GetRecords", "error": "ProvisionedThroughputExceededException"}
    found = {name: samples for (_, name, _), samples in told(*(("aws", hop) for hop in (puts, read, refused))).items()}
    assert found == {
        "IncomingRecords": {1: 7},
        "IncomingBytes": {70: 1},
        "PutRecords.Bytes": {70: 1},
        "PutRecords.Success": {1: 1},
        "PutRecords.TotalRecords": {10: 1},
        "PutRecords.SuccessfulRecords": {7: 1},
        "PutRecords.FailedRecords": {1: 1},
        "PutRecords.ThrottledRecords": {2: 1},
        "WriteProvisionedThroughputExceeded": {2: 1},
        "GetRecords.Success": {1: 1, 0: 1},
        "GetRecords.Records": {5: 1},
        "GetRecords.IteratorAgeMilliseconds": {900: 1},
        "ReadProvisionedThroughputExceeded": {0: 1, 1: 1},
    }


@pytest.mark.rule("metrics.dynamodb")
def test_a_throttled_call_counts_by_operation_and_its_events_by_table() -> None:
    """DynamoDB developer guide: ThrottledRequests of TableName and Operation, throttle events of TableName."""
    common = {"service": "dynamodb", "resource": "t", "caller": "client"}
    write = {**common, "operation": "PutItem", "error": "ProvisionedThroughputExceededException"}
    read = {**common, "operation": "Query", "error": "ThrottlingException"}
    found = told(("aws", write), ("aws", read), ("aws", {**write, "error": "ConditionalCheckFailedException"}))
    assert found == {
        ("DynamoDB", "ThrottledRequests", "t,PutItem"): {1: 1},
        ("DynamoDB", "ThrottledRequests", "t,Query"): {1: 1},
        ("DynamoDB", "WriteThrottleEvents", "t"): {1: 1},
        ("DynamoDB", "ReadThrottleEvents", "t"): {1: 1},
    }


@pytest.mark.rule("metrics.rest-api")
def test_requests_to_an_api_count_for_it_and_for_its_stage() -> None:
    """API Gateway developer guide: 4XXError and 5XXError are rates by their average; what finds no stage counts not."""
    common = {"ms": 30.4, "integration_ms": 20.2, "stage": "live"}
    hops = [("api", {**common, "status": status, "api": "shop"}) for status in (200, 429, 504)]
    found = told(*hops, ("api", {**common, "status": 403, "api": None}))
    for where in ("shop", "shop,live"):
        assert found["ApiGateway", "Count", where] == {1: 3}
        assert found["ApiGateway", "4XXError", where] == {0: 2, 1: 1}
        assert found["ApiGateway", "5XXError", where] == {0: 2, 1: 1}
        assert found["ApiGateway", "Latency", where] == {30: 3}
        assert found["ApiGateway", "IntegrationLatency", where] == {20: 3}


@pytest.mark.rule("metrics.function-url")
def test_requests_to_a_function_url() -> None:
    """Lambda developer guide, Monitoring Lambda function URLs."""
    found = told(*(("url", {"function": "f", "status": status, "ms": 5.0}) for status in (200, 429, 502)))
    assert found["Lambda", "UrlRequestCount", "f"] == {1: 3}
    assert found["Lambda", "Url4xxCount", "f"] == {0: 2, 1: 1}
    assert found["Lambda", "Url5xxCount", "f"] == {0: 2, 1: 1}
    assert found["Lambda", "UrlRequestLatency", "f"] == {5: 3}


@pytest.mark.rule("metrics.function-url")
def test_a_url_of_an_alias_counts_for_it_and_its_version() -> None:
    """Lambda developer guide, Monitoring Lambda function URLs: FunctionName, Resource and ExecutedVersion."""
    url = {"function": "f", "qualifier": "live", "version": "3", "status": 200, "ms": 5.0}
    counted = {where for _, name, where in told(("url", url)) if name == "UrlRequestCount"}
    assert {"f", "f,f:live", "f,f:live,3"} <= counted


def test_other_hops_count_for_nothing() -> None:
    """Sessions, samples and faults are the testbed's own."""
    assert told(("sample", {"queue_depth": 1}), ("postgres", {"event": "open"})) == {}


def test_condensed_samples_keep_count_sum_and_ends() -> None:
    """Of a thousand values as many are left as a datum takes; what can be asked of them all is the same."""
    samples: Samples = {float(number**2): 1 + number % 3 for number in range(1000)}
    few = condensed(samples)
    assert len(few) == MOST_VALUES
    assert sum(few.values()) == sum(samples.values())
    assert sum(value * times for value, times in few.items()) == pytest.approx(sum(v * t for v, t in samples.items()))
    assert (min(few), max(few)) == (0.0, 999.0**2)


def test_batches_hold_one_namespace_and_no_more_than_asked() -> None:
    """PutMetricData names one namespace, and takes a limited number of data."""
    metrics = Metrics()
    for number in range(5):
        metrics.add(_NOON, ("queue", f"q{number}"), "NumberOfMessagesSent", 1)
        metrics.add(_NOON, ("stream", f"s{number}"), "IncomingRecords", 1)
    parts = [(namespace, len(data)) for namespace, data in batches(metrics.take(), 3)]
    assert parts == [("AWS/Kinesis", 3), ("AWS/Kinesis", 2), ("AWS/SQS", 3), ("AWS/SQS", 2)]
