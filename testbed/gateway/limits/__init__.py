"""What durable services refuse when they are overloaded, enforced before the emulator, which enforces none of it."""

from testbed.gateway.limits.service import ServiceLimits

__all__ = ["ServiceLimits"]
