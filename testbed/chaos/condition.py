"""Conditions on calls, and how they combine: `Trigger`, and a function of one's own as one.

The conditions that there are, are in `testbed.chaos.trigger`.
"""

import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.chaos.call import Call
from testbed.errors import UsageError

Predicate = Callable[[Call], bool]
_HINT: Final = "docs/faults.md lists the triggers"


class Trigger(ABC):
    """A condition on a call."""

    @abstractmethod
    def armed(self, seed: int, fault: str) -> Predicate:
        """The condition for one run: what it counts begins at nothing.

        Args:
            seed: Seed of the run.
            fault: Name of the fault that asks, so that two faults decide independently of each other.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The trigger as a JSON object with one member; `trigger_from_json` reads it."""

    def __and__(self, other: "Trigger | Predicate") -> "Trigger":
        """Both hold. The second is asked only where the first holds: put what counts last."""
        return All((self, as_trigger(other)))

    def __rand__(self, other: Predicate) -> "Trigger":
        """Both hold, a function of one's own first."""
        return All((as_trigger(other), self))

    def __or__(self, other: "Trigger | Predicate") -> "Trigger":
        """One of them holds. The second is asked only where the first does not hold."""
        return AnyOf((self, as_trigger(other)))

    def __ror__(self, other: Predicate) -> "Trigger":
        """One of them holds, a function of one's own first."""
        return AnyOf((as_trigger(other), self))

    def __invert__(self) -> "Trigger":
        """It does not hold."""
        return Not(self)


def as_trigger(condition: Trigger | Predicate) -> Trigger:
    """A trigger as it is; a function of one's own, from a call to whether it is hit, as a trigger.

    The function is a top-level one of a file, since the data plane, a process of its own, must find it there. It must
    look at the call alone.

    Raises:
        UsageError: It is no such function.
    """
    return condition if isinstance(condition, Trigger) else Own(_reference(condition))


@dataclass(frozen=True)
class All(Trigger):
    """All of them hold; each is asked only where those before it do."""

    triggers: tuple[Trigger, ...]

    def armed(self, seed: int, fault: str) -> Predicate:
        """Each of them armed."""
        parts = [trigger.armed(seed, fault) for trigger in self.triggers]
        return lambda call: all(part(call) for part in parts)

    def to_json(self) -> dict[str, Any]:
        """``{"all": [...]}``."""
        return {"all": [trigger.to_json() for trigger in self.triggers]}


@dataclass(frozen=True)
class AnyOf(Trigger):
    """One of them holds; each is asked only where none before it does."""

    triggers: tuple[Trigger, ...]

    def armed(self, seed: int, fault: str) -> Predicate:
        """Each of them armed."""
        parts = [trigger.armed(seed, fault) for trigger in self.triggers]
        return lambda call: any(part(call) for part in parts)

    def to_json(self) -> dict[str, Any]:
        """``{"any": [...]}``."""
        return {"any": [trigger.to_json() for trigger in self.triggers]}


@dataclass(frozen=True)
class Not(Trigger):
    """It does not hold."""

    trigger: Trigger

    def armed(self, seed: int, fault: str) -> Predicate:
        """The other one armed."""
        part = self.trigger.armed(seed, fault)
        return lambda call: not part(call)

    def to_json(self) -> dict[str, Any]:
        """``{"not": ...}``."""
        return {"not": self.trigger.to_json()}


@dataclass(frozen=True)
class Own(Trigger):
    """A function of one's own, ``path of its file:its name``."""

    reference: str

    def armed(self, seed: int, fault: str) -> Predicate:
        """The function, found in its file."""
        del seed, fault
        path, _, name = self.reference.rpartition(":")
        found = getattr(_module(path), name, None)
        if not callable(found):
            raise refused(f"there is no function {name!r} in {path}")
        holds: Predicate = found

        def asked(call: Call) -> bool:
            try:
                return bool(holds(call))
            except Exception as error:
                raise refused(f"the trigger {name!r} in {path} raised {type(error).__name__}: {error}") from error

        return asked

    def to_json(self) -> dict[str, Any]:
        """``{"callable": "/path/of/file.py:name"}``."""
        return {"callable": self.reference}


def _reference(condition: Predicate) -> str:
    name = getattr(condition, "__qualname__", "")
    path = inspect.getsourcefile(condition) if inspect.isfunction(condition) else None
    if path is None or not name.isidentifier():
        raise UsageError(
            f"{condition!r} cannot be a trigger: the data plane, a process of its own, could not find it",
            "give a function that is defined with def at the top level of the scenario's file",
        )
    return f"{Path(path).resolve()}:{name}"


def _module(path: str) -> object:
    specification = importlib.util.spec_from_file_location(f"triggers of {path}", path)
    if specification is None or specification.loader is None:
        raise refused(f"{path!r} is not a file of Python")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise refused(f"{path} with a trigger cannot be imported: {type(error).__name__}: {error}") from error
    return module


def triggers_of(parts: Sequence[Trigger]) -> Trigger | None:
    """All of ``parts`` together; None where there are none."""
    return All(tuple(parts)) if len(parts) > 1 else next(iter(parts), None)


def refused(why: str) -> UsageError:
    """The error for a trigger that makes no sense."""
    return UsageError(why, _HINT)
