"""What the plugin makes of LocalStack's store of metrics and of its queues."""

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.localstack_plugin.serverless_testbed_plugin.cloudwatch import add_metric_data, get_metric_data_stat
from testbed.localstack_plugin.serverless_testbed_plugin.queues import QueueCounts, age_of_oldest, gauges

_NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
_COLUMNS = "account_id, region, metric_name, namespace, timestamp, dimensions, unit, storage_resolution"


class Database:
    """LocalStack's database of metrics, as far as it is used."""

    def __init__(self, folder: Path) -> None:
        self.METRICS_DB = str(folder / "metrics.db")
        self.METRICS_DB_READ_ONLY = f"file:{self.METRICS_DB}?mode=ro"
        self.DATABASE_LOCK = threading.RLock()
        with closing(sqlite3.connect(self.METRICS_DB)) as connection:
            connection.execute(f"CREATE TABLE SINGLE_METRICS ({_COLUMNS}, value)")
            connection.execute(f"CREATE TABLE AGGREGATED_METRICS ({_COLUMNS}, sample_count, sum, min, max)")

    def _get_ordered_dimensions_with_separator(self, dimensions: list[dict[str, str]] | None) -> str | None:
        return "".join(f"{each['Name']}={each['Value']}\t" for each in dimensions or ()) or None

    def put(self, **metric: object) -> None:
        add_metric_data(self, "1", "r", "N", [{"MetricName": "M", "Timestamp": _NOON, **metric}])

    def read(self, stat: str, dimensions: Sequence[Mapping[str, str]] = (), *, start: datetime = _NOON) -> list[float]:
        metric = {"Namespace": "N", "MetricName": "M", "Dimensions": dimensions}
        query = {"MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}
        end = start + timedelta(minutes=5)
        values: list[float] = get_metric_data_stat(self, "1", "r", query, start, end, None)["values"]
        return values


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


@pytest.mark.rule("metrics.read-statistics")
def test_values_statistic_sets_and_single_values_are_added_up(database: Database) -> None:
    """Whatever form a datum has, every statistic is that of all samples."""
    database.put(Value=4.0)
    database.put(Values=[1.0, 2.0], Counts=[3.0, 1.0])
    database.put(StatisticValues={"SampleCount": 2, "Sum": 10, "Minimum": 0.5, "Maximum": 9.5})
    read = {stat: database.read(stat) for stat in ("SampleCount", "Sum", "Average", "Minimum", "Maximum", "p50")}
    assert read == {
        "SampleCount": [7], "Sum": [19], "Average": [19 / 7], "Minimum": [0.5], "Maximum": [9.5], "p50": [],
    }  # fmt: skip


@pytest.mark.rule("metrics.read-percentiles")
def test_a_percentile_is_the_value_at_its_rank(database: Database) -> None:
    """Of a hundred values the ninetieth is p90."""
    database.put(Values=[float(number) for number in range(1, 101)])
    assert [database.read(stat) for stat in ("p50", "p90", "p99", "p100")] == [[50.0], [90.0], [99.0], [100.0]]


@pytest.mark.rule("metrics.read-dimensions")
def test_other_dimensions_are_another_metric(database: Database) -> None:
    """A function's metric does not hold its alias's, nor that of a function whose name begins or looks alike."""
    function = {"Name": "FunctionName", "Value": "a_b"}
    database.put(Value=1.0, Dimensions=[function])
    for others in (
        [function, {"Name": "Resource", "Value": "a_b:live"}],
        [{"Name": "FunctionName", "Value": "a_bc"}],
        [{"Name": "FunctionName", "Value": "a-b"}],
        [],
    ):
        database.put(Value=10.0, Dimensions=others)
    assert database.read("Sum", [function]) == [1.0]
    assert database.read("Sum") == [10.0]


@pytest.mark.rule("metrics.read-start")
def test_the_minute_in_which_a_reader_begins_is_whole(database: Database) -> None:
    """CloudWatch API reference: the start is rounded down to the whole minute."""
    database.put(Value=1.0)
    assert database.read("Sum", start=_NOON + timedelta(seconds=59)) == [1.0]
    assert database.read("Sum", start=_NOON + timedelta(seconds=60)) == []


@dataclass
class Message:
    created: float
    receive_count: int = 0


@dataclass
class Queue:
    name: str = "orders"
    visible: Any = field(default_factory=lambda: SimpleNamespace(queue=[]))
    inflight: list[Message] = field(default_factory=list)
    delayed: list[Message] = field(default_factory=list)


def test_counts_are_kept_until_the_taker_has_them() -> None:
    """An answer that was lost is given again, one that arrived is not."""
    counts = QueueCounts()
    counts.dispatch_metric_message_sent(Queue(), 12)
    counts.dispatch_metric_received(Queue(), 0)
    first, told = counts.take(0)
    assert [(name, metric, value, times) for _, name, metric, value, times in told] == [
        ("orders", "NumberOfMessagesSent", 1, 1),
        ("orders", "SentMessageSize", 12, 1),
        ("orders", "NumberOfEmptyReceives", 1, 1),
    ]
    assert counts.take(0)[1] == told
    counts.dispatch_metric_message_deleted(Queue(), 3)
    second, again = counts.take(0)
    assert len(again) == 4
    assert second > first
    assert counts.take(second)[1] == []


@pytest.mark.rule("metrics.sqs")
def test_the_gauges_of_a_queue() -> None:
    """Visible, in flight and delayed; a FIFO queue keeps its messages by group."""
    fifo = Queue("orders.fifo", visible=None)
    fifo.message_groups = {"g": SimpleNamespace(messages=[Message(0.0)])}  # type: ignore[attr-defined]
    standard = Queue(visible=SimpleNamespace(queue=[Message(0.0)] * 2), inflight=[Message(0.0)])
    found = gauges([standard, fifo])
    assert found["orders"]["ApproximateNumberOfMessagesVisible"] == 2
    assert found["orders"]["ApproximateNumberOfMessagesNotVisible"] == 1
    assert found["orders.fifo"]["ApproximateNumberOfMessagesVisible"] == 1


@pytest.mark.rule("sqs.poison-age")
def test_a_message_received_three_times_does_not_count_as_the_oldest() -> None:
    """Amazon SQS developer guide, ApproximateAgeOfOldestMessage: a poison pill is behind the others."""
    poison, good = Message(10.0, receive_count=3), Message(60.0)
    assert age_of_oldest([poison, good], 100.0) == 40.0
    assert age_of_oldest([poison], 100.0) == 90.0
    assert age_of_oldest([], 100.0) == 0.0
