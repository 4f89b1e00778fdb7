"""Execution environments that end while they are needed, or start slowly."""

from dataclasses import dataclass
from typing import Final, Literal

from testbed.chaos.call import Call, Effect, Injection
from testbed.chaos.faults.invoke_fault import InvokeFault

_LONGEST: Final = 9


@dataclass(frozen=True, slots=True)
class Killed(Effect):
    """The environment of an invoke is killed.

    Attributes:
        moment: ``"before"`` the handler runs, ``"during"``, or ``"after"`` it has returned, before anybody knows.
        seconds: With ``"during"``, how long the handler has run by then, at most.
    """

    moment: Literal["before", "during", "after"]
    seconds: float

    def __str__(self) -> str:
        return f"killed {self.moment} the handler" + (f", {self.seconds:g} s in" if self.moment == "during" else "")


@dataclass(frozen=True, slots=True)
class MemoryUsedUp(Effect):
    """The environment of an invoke is killed as one that has used more memory than it has.

    Attributes:
        seconds: How long the handler has run by then, at most.
    """

    seconds: float

    def __str__(self) -> str:
        return f"out of memory {self.seconds:g} s in"


@dataclass(frozen=True, slots=True)
class StartsSlowly(Effect):
    """An environment that has to be started for the invoke takes longer.

    Attributes:
        seconds: How much longer.
    """

    seconds: float

    def __str__(self) -> str:
        return f"starts {self.seconds:g} s later"


@dataclass(frozen=True, kw_only=True)
class EnvironmentKilled(InvokeFault):
    """Kills the process of an execution environment (SIGKILL), as when the machine under it fails.

    The invoke ends as AWS's ``Runtime.ExitError`` (API reference, Invoke: status 200, ``X-Amz-Function-Error:
    Unhandled``), and the next one initialises an environment in its own time. Killed after its handler, the work is
    done, and whoever invoked is told that it failed: a poller keeps the messages, the asynchronous queue tries again.
    It fires where a process is killed: not for an invoke that is throttled, nor for one that ends by itself first.

    Attributes:
        moment: ``"before"`` the handler runs, ``"during"``, or ``"after"`` it has returned, before anybody knows.
        seconds: With ``"during"``, how long the handler has run by then. One that answers sooner is killed as it
            does: in every run the same invokes fail, however fast the machine is.

    Raises:
        UsageError: A field makes no sense.
    """

    moment: Literal["before", "during", "after"] = "during"
    seconds: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds < 0:
            raise self.refused(f"seconds={self.seconds} is negative")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the environment."""
        del call, seed
        return Injection(self.name, effect=Killed(self.moment, self.seconds))


@dataclass(frozen=True, kw_only=True)
class OutOfMemory(InvokeFault):
    """Ends an environment as AWS does when the function uses more memory than it has.

    The invoke ends as ``Runtime.OutOfMemory``, and its log says that all memory was used (AWS Lambda developer guide,
    Troubleshoot invocation issues: memory errors). No memory is taken from the machine. It fires where an environment
    ends so: not for an invoke that is throttled, nor for one that times out first.

    Attributes:
        seconds: How long the handler has run by then. One that answers sooner ends so as it does.

    Raises:
        UsageError: The time is negative.
    """

    seconds: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds < 0:
            raise self.refused(f"seconds={self.seconds} is negative")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the environment."""
        del call, seed
        return Injection(self.name, effect=MemoryUsedUp(self.seconds))


@dataclass(frozen=True, kw_only=True)
class SlowColdStart(InvokeFault):
    """Makes cold starts slower. It fires where an environment is started: one that is warm serves as ever.

    The time is part of ``Init Duration``. After a failure of the environment before, where Lambda initialises in the
    invoke's own time, it is part of that, and of the function's timeout (AWS Lambda developer guide, Lambda execution
    environment lifecycle).

    Attributes:
        seconds: How much longer an initialisation takes, at most 9: beyond 10 it would be done again.

    Raises:
        UsageError: The time makes no sense.
    """

    seconds: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.seconds <= _LONGEST:
            raise self.refused(f"seconds={self.seconds} is not more than 0 and at most {_LONGEST}")

    def inject(self, call: Call, seed: int) -> Injection:
        """An effect on the environment, if one is started."""
        del call, seed
        return Injection(self.name, effect=StartsSlowly(self.seconds))
