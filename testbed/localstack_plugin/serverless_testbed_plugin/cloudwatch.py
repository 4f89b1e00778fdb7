"""CloudWatch's store of metrics, where LocalStack's differs from AWS.

On AWS a metric is its name with *all* of its dimensions. LocalStack adds the metrics of a function's aliases to the
function's, leaves out what is older than the second that a reader asks from, knows no percentiles, and takes one
transaction for each metric of a call, a millisecond each. The tables stay LocalStack's own.
"""

import itertools
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final

_INSERT: Final = (
    "INSERT INTO {} (account_id, region, metric_name, namespace, timestamp, dimensions, unit, storage_resolution, {}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, {})"
)
_MINUTE: Final = 60
Row = tuple[int, float, float, float, float]
"""Timestamp, how many samples, their sum, minimum and maximum."""


def keep_metrics_as_aws_does() -> None:
    """Replace what LocalStack's database of metrics does by what is here."""
    from localstack.services.cloudwatch.cloudwatch_database_helper import (  # noqa: PLC0415  # see start.install
        CloudwatchDatabase,
    )

    units = CloudwatchDatabase.get_units_for_metric_data_stat

    def units_from_whole_minutes(self: Any, *, start_time: datetime, **rest: Any) -> Any:
        return units(self, start_time=start_time.replace(second=0, microsecond=0), **rest)

    CloudwatchDatabase.add_metric_data = add_metric_data
    CloudwatchDatabase.get_metric_data_stat = get_metric_data_stat
    CloudwatchDatabase.get_units_for_metric_data_stat = units_from_whole_minutes


def add_metric_data(
    self: Any, account_id: str, region: str, namespace: str, metric_data: Sequence[Mapping[str, Any]]
) -> None:
    """Store the metrics of one ``PutMetricData`` in one transaction."""
    single: list[tuple[Any, ...]] = []
    aggregated: list[tuple[Any, ...]] = []
    for metric in metric_data:
        at = metric.get("Timestamp")
        seconds = int(at.timestamp()) if at else int(datetime.now().timestamp())  # noqa: DTZ005 - a point in time
        dimensions = self._get_ordered_dimensions_with_separator(metric.get("Dimensions"))
        unit, resolution = metric.get("Unit"), metric.get("StorageResolution")
        key = (account_id, region, metric["MetricName"], namespace, seconds, dimensions, unit, resolution)
        if metric.get("Value") is not None:
            single.append((*key, metric["Value"]))
        aggregated += [(*key, *samples) for samples in _samples(metric)]
    with self.DATABASE_LOCK, closing(sqlite3.connect(self.METRICS_DB)) as connection, connection:
        connection.executemany(_INSERT.format("SINGLE_METRICS", "value", "?"), single)
        columns = "sample_count, sum, min, max"
        connection.executemany(_INSERT.format("AGGREGATED_METRICS", columns, "?, ?, ?, ?"), aggregated)


def _samples(metric: Mapping[str, Any]) -> Iterator[tuple[float, float, float, float]]:
    """How many, sum, minimum and maximum: of each distinct value, and of a statistic set."""
    values = metric.get("Values") or ()
    for value, count in zip(values, metric.get("Counts") or itertools.repeat(1.0), strict=False):
        yield count, value * count, value, value
    if statistic := metric.get("StatisticValues"):
        yield statistic["SampleCount"], statistic["Sum"], statistic["Minimum"], statistic["Maximum"]


def get_metric_data_stat(  # noqa: PLR0917 - LocalStack's own signature
    self: Any,
    account_id: str,
    region: str,
    query: Mapping[str, Any],
    start_time: datetime,
    end_time: datetime,
    scan_by: str | None,
) -> dict[str, list[Any]]:
    """One statistic of one metric, period by period.

    The start is rounded down to the whole minute (CloudWatch API reference, GetMetricStatistics).
    """
    wanted = query["MetricStat"]
    period, metric, unit = int(wanted["Period"]), wanted["Metric"], wanted.get("Unit")
    start = int(start_time.timestamp()) // _MINUTE * _MINUTE
    dimensions = self._get_ordered_dimensions_with_separator(list(metric.get("Dimensions") or ()))
    condition = (
        "account_id = ? AND region = ? AND namespace = ? AND metric_name = ? AND dimensions IS ? "
        "AND timestamp >= ? AND timestamp < ?"
    )
    found: tuple[Any, ...] = (
        account_id,
        region,
        metric["Namespace"],
        metric["MetricName"],
        dimensions,
        start,
        end_time.timestamp(),
    )
    if unit:
        condition += " AND unit IS ?"
        found = (*found, None if unit == "NULL_VALUE" else unit)
    sql = (
        f"SELECT timestamp, 1, value, value, value FROM SINGLE_METRICS WHERE {condition} UNION ALL "  # noqa: S608 - ours
        f"SELECT timestamp, sample_count, sum, min, max FROM AGGREGATED_METRICS WHERE {condition}"
    )
    reading = sqlite3.connect(self.METRICS_DB_READ_ONLY, uri=True)
    with self.DATABASE_LOCK, closing(reading) as connection:
        rows: list[Row] = sorted(connection.execute(sql, (*found, *found)))
    points = [
        (start + slot * period, value)
        for slot, each in itertools.groupby(rows, key=lambda row: (row[0] - start) // period)
        if (value := statistic(wanted["Stat"], list(each))) is not None
    ]
    if scan_by in {None, "TimestampDescending"}:
        points.reverse()
    return {"timestamps": [at for at, _ in points], "values": [value for _, value in points]}


def statistic(name: str, rows: Sequence[Row]) -> float | None:
    """A statistic of the samples in ``rows``; None where it cannot be told: no samples, or not one by one.

    A percentile is the value at its rank. AWS publishes no formula.
    """
    count = sum(row[1] for row in rows)
    if not count:
        return None
    if name.startswith("p"):
        return _percentile(rows, count * float(name[1:]) / 100)
    total = math.fsum(row[2] for row in rows)
    return {
        "SampleCount": count,
        "Sum": total,
        "Average": total / count,
        "Minimum": min(row[3] for row in rows),
        "Maximum": max(row[4] for row in rows),
    }[name]


def _percentile(rows: Sequence[Row], rank: float) -> float | None:
    if any(low != high for _, _, _, low, high in rows):
        return None  # a statistic set does not say which values it is made of
    ordered = sorted((value, weight) for _, weight, _, value, _ in rows)
    reached = itertools.accumulate(weight for _, weight in ordered)
    return next(value for (value, _), seen in zip(ordered, reached, strict=True) if seen >= rank)
