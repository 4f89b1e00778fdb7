"""The event source mapping pollers: what LocalStack lists as mappings is read, invoked and acknowledged here."""

from testbed.compute.pollers.fleet import PollerFleet
from testbed.compute.pollers.status import MappingStatus

__all__ = ["MappingStatus", "PollerFleet"]
