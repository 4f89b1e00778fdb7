"""What a DynamoDB table takes and gives per second.

Source: Amazon DynamoDB developer guide, DynamoDB provisioned capacity mode, DynamoDB on-demand capacity mode, and
Burst and adaptive capacity.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamoDbProfile:
    """Limits of tables; they are rates, which `compress` leaves alone.

    Attributes:
        burst_seconds: Seconds of unused throughput that a table may use later (300).
        partition_write_units: Write units per second of one partition (1,000).
        partition_read_units: Read units per second of one partition (3,000).
        on_demand_write_units: Write units per second that a new on-demand table takes at once (4,000).
        on_demand_read_units: Read units per second that a new on-demand table gives at once (12,000).
    """

    burst_seconds: float = 300.0
    partition_write_units: float = 1000.0
    partition_read_units: float = 3000.0
    on_demand_write_units: float = 4000.0
    on_demand_read_units: float = 12000.0
