"""An event source mapping as ListEventSourceMappings shows it, reduced to what the pollers act on."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from testbed.semantics.filter_criteria import Filter, InvalidFilterError, parse_filters
from testbed.semantics.sqs_mapping import ProvisionedPollers
from testbed.semantics.stream_batch import StreamRules

_DEFAULT_BATCH_SIZE: Final = {"sqs": 10, "kinesis": 100, "dynamodb": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """One mapping. Names and defaults are those of the Lambda API.

    Attributes:
        uuid: Its UUID.
        source_arn: ARN of the queue or stream.
        function_arn: ARN of the function, with its alias or version where the mapping names one.
        state: ``"Enabled"``, ``"Disabled"``, ...
        batch_size: ``BatchSize``, in records.
        window: ``MaximumBatchingWindowInSeconds``.
        maximum_concurrency: ``ScalingConfig.MaximumConcurrency``; None is none.
        provisioned: ``ProvisionedPollerConfig`` of a queue; None is none.
        partial_responses: Whether the function reports batch item failures.
        rules: The error handling of a stream.
        on_failure: ARN of the on-failure destination; None is none.
        parallelization_factor: ``ParallelizationFactor``: batches of a shard at a time.
        tumbling_window: ``TumblingWindowInSeconds``; 0 is none.
        starting_position: ``StartingPosition`` of a stream.
        starting_timestamp: ``StartingPositionTimestamp``.
        filters: ``FilterCriteria``; empty for none, None where a pattern is not valid.
        unsupported: Fields that ask for something that the pollers do not do.
    """

    uuid: str
    source_arn: str
    function_arn: str
    state: str
    batch_size: int
    window: float = 0.0
    maximum_concurrency: int | None = None
    provisioned: ProvisionedPollers | None = None
    partial_responses: bool = False
    rules: StreamRules = field(default=StreamRules())
    on_failure: str | None = None
    parallelization_factor: int = 1
    tumbling_window: float = 0.0
    starting_position: str = "TRIM_HORIZON"
    starting_timestamp: datetime | None = None
    filters: tuple[Filter, ...] | None = ()
    unsupported: tuple[str, ...] = ()

    @classmethod
    def parse(cls, entry: dict[str, Any]) -> "Mapping":
        """Read one entry of ListEventSourceMappings."""
        source = entry.get("EventSourceArn") or ""
        return cls(
            uuid=entry["UUID"],
            source_arn=source,
            function_arn=entry["FunctionArn"],
            state=entry.get("State") or "Enabled",
            batch_size=entry.get("BatchSize") or _DEFAULT_BATCH_SIZE.get(_service(source), 100),
            window=entry.get("MaximumBatchingWindowInSeconds") or 0,
            maximum_concurrency=(entry.get("ScalingConfig") or {}).get("MaximumConcurrency"),
            provisioned=_provisioned(entry),
            partial_responses="ReportBatchItemFailures" in (entry.get("FunctionResponseTypes") or ()),
            rules=_stream_rules(entry),
            on_failure=_on_failure(entry),
            parallelization_factor=entry.get("ParallelizationFactor") or 1,
            tumbling_window=entry.get("TumblingWindowInSeconds") or 0,
            starting_position=entry.get("StartingPosition") or "TRIM_HORIZON",
            starting_timestamp=entry.get("StartingPositionTimestamp"),
            filters=_filters(entry),
            unsupported=_unsupported(entry),
        )

    @property
    def service(self) -> str:
        """Service of the source: ``"sqs"``, ``"kinesis"``, ..."""
        return _service(self.source_arn)

    @property
    def region(self) -> str:
        """Region of the source."""
        return self.source_arn.split(":")[3]

    @property
    def source(self) -> str:
        """Name of the queue, stream or table."""
        return self.source_arn.split(":", 5)[5].removeprefix("stream/").removeprefix("table/").split("/")[0]

    @property
    def function(self) -> str:
        """Name of the function."""
        return self.function_arn.split(":")[6]

    @property
    def caller(self) -> str:
        """How its AWS calls and invokes are signed, for faults and the journal."""
        return f"mapping:{self.uuid}"


def _service(arn: str) -> str:
    return arn.split(":")[2] if arn.count(":") >= 5 else ""  # noqa: PLR2004 - an ARN has six parts


def _stream_rules(entry: dict[str, Any]) -> StreamRules:
    retries, age = entry.get("MaximumRetryAttempts"), entry.get("MaximumRecordAgeInSeconds")
    return StreamRules(
        maximum_retry_attempts=-1 if retries is None else retries,
        maximum_record_age=-1 if age is None else age,
        bisect=bool(entry.get("BisectBatchOnFunctionError")),
    )


def _filters(entry: dict[str, Any]) -> tuple[Filter, ...] | None:
    patterns = [each.get("Pattern") or "{}" for each in (entry.get("FilterCriteria") or {}).get("Filters") or ()]
    try:
        return parse_filters(patterns, _service(entry.get("EventSourceArn") or "")) if patterns else ()
    except InvalidFilterError:
        return None


def _provisioned(entry: dict[str, Any]) -> ProvisionedPollers | None:
    config = entry.get("ProvisionedPollerConfig")
    if not config:
        return None
    limits = {"minimum": config.get("MinimumPollers"), "maximum": config.get("MaximumPollers")}
    return ProvisionedPollers(**{name: value for name, value in limits.items() if value})


def _on_failure(entry: dict[str, Any]) -> str | None:
    destination = ((entry.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    return destination or None


def _unsupported(entry: dict[str, Any]) -> tuple[str, ...]:
    fields = []
    if _service(entry.get("EventSourceArn") or "") not in _DEFAULT_BATCH_SIZE:
        fields.append("EventSourceArn")
    if _filters(entry) is None:
        fields.append("FilterCriteria")
    if _service(_on_failure(entry) or "arn:aws:sqs:::") not in {"sqs", "sns", "s3"}:
        fields.append("DestinationConfig")
    return tuple(fields)
