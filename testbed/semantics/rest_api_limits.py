"""How many requests API Gateway takes: of the account, a stage, a method, and each client of a usage plan.

Source: API Gateway developer guide, Throttle requests to your REST APIs for better throughput in API Gateway.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RestApiProfile:
    """Limits of one account in one region; they are rates, which `compress` leaves alone.

    Attributes:
        account_rate: Requests per second of all APIs together (10,000).
        account_burst: Requests that may come at once (5,000).
    """

    account_rate: float = 10_000.0
    account_burst: int = 5_000
