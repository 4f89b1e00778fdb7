"""Faults that are added by hand while a testbed stands: ``/_testbed/chaos``."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import unquote

from testbed.chaos import fis
from testbed.chaos.call import Call
from testbed.chaos.catalogue import faults_from_json, to_json
from testbed.chaos.fault import CallFault, Fault
from testbed.chaos.faults.poison import Poison
from testbed.chaos.schedule import Armed, Listener, Schedule
from testbed.errors import TestbedError, UsageError
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import json_reply

PATH: Final = "/_testbed/chaos"
_OF_A_CALL: Final = ("service", "operation", "resource", "caller", "identity", "attempt", "at")
_SHAPES: Final = "POST a fault, a list of faults, {'faults': ..., 'seed': N} or {'fis': template, 'compress': K}"


class RunGoesOnError(TestbedError):
    """A run has faults of its own, which nobody else may change: its verdict and its replay are of those."""


class Stage(Protocol):
    """What the faults act on: the plane."""

    schedule: Schedule
    """That decides now."""

    def busy(self) -> str:
        """Why faults of somebody else must stay away; empty where none must."""

    def clock(self) -> float:
        """Seconds since the start of the traffic."""

    def act(self, schedule: Schedule) -> None:
        """Let ``schedule`` decide from now on."""


class AddedFaults:
    """The faults that were added by hand.

    Their windows count from when they were added. They act until they are removed, and until a run begins: a run has
    the faults of its scenario and no others, and leaves none when it ends.

    Args:
        stage: What they act on.
        listener: Is told of each that fired.
    """

    def __init__(self, stage: Stage, listener: Listener) -> None:
        self._stage = stage
        self._listener = listener
        self._own: Schedule | None = None
        self._number = 0

    def acting(self) -> Schedule | None:
        """They themselves; None where none was added since the last run began."""
        return self._own if self._own is self._stage.schedule else None

    def add(self, faults: Sequence[Fault], seed: int = 0) -> list[str]:
        """Let faults act from now on; returns their names.

        Raises:
            RunGoesOnError: A run goes on.
            UsageError: One is no fault of calls, or has the name of another one; then none is added.
        """
        self.check_free()
        own = self.acting() or Schedule((), seed, self._listener)
        named = [self._named(fault) for fault in faults]
        names = [fault.name for fault in named]
        taken = {armed.fault.name for armed in own.faults}
        for position, name in enumerate(names):
            if name in taken or name in names[:position]:
                raise UsageError(f"there is a fault {name!r} already", f"DELETE {PATH}/{name} removes it")
        since = self._stage.clock()
        try:
            for fault in named:
                own.add(fault, seed, since)
        except UsageError:  # the trigger of one cannot be found
            for name in names:
                own.remove(name)
            raise
        if own is not self._stage.schedule:
            self._own = own
            self._stage.act(own)
        return names

    def remove(self, names: Sequence[str]) -> None:
        """Let these act no more.

        Raises:
            RunGoesOnError: A run goes on.
            UsageError: There is none of that name.
        """
        self.check_free()
        own = self.acting()
        for name in names:
            if own is None or not own.remove(name):
                raise UsageError(f"there is no fault {name!r}", f"GET {PATH} tells those that there are")

    def clear(self) -> None:
        """Let none act.

        Raises:
            RunGoesOnError: A run goes on.
        """
        self.check_free()
        self.forget()

    def forget(self) -> None:
        """The same, for a run that is about to begin."""
        if self.acting() is not None:
            self._stage.act(Schedule((), 0))

    def check_free(self) -> None:
        """See that no run goes on.

        Raises:
            RunGoesOnError: One does.
        """
        if busy := self._stage.busy():
            raise RunGoesOnError(busy, "its faults are those of its scenario; wait until it is over")

    def _named(self, fault: Fault) -> CallFault:
        if not isinstance(fault, CallFault):
            kind = type(fault).__name__
            why = "spoils the orders of a run" if isinstance(fault, Poison) else "is done by the command that runs one"
            raise UsageError(
                f"{kind} {fault.name!r} cannot be added by hand: it {why}", "put it into the chaos of a scenario"
            )
        self._number += 1
        return fault if fault.name else replace(fault, name=f"{type(fault).__name__.lower()}-{self._number}")


class ChaosRoute:
    """Answers ``/_testbed/chaos``.

    ``GET`` tells which faults act, those of a run included, how often each fired and on what it did last; ``POST`` adds
    some; ``DELETE`` removes all, and with a name behind the path that one.

    Args:
        added: What it changes.
        stage: What acts.
    """

    def __init__(self, added: AddedFaults, stage: Stage) -> None:
        self._added = added
        self._stage = stage

    def handle(self, request: Inbound) -> Reply:
        """Answer one request, whose token is right."""
        name = unquote(request.path.removeprefix(PATH).removeprefix("/"))
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "GET": dict,
            "POST": lambda: self._post(request.body),
            "DELETE": lambda: self._delete(name),
        }
        return answered(lambda: answers[request.method]() | self._told(), method=request.method, known=answers)

    def _post(self, body: bytes) -> dict[str, Any]:
        order = document(body)
        order = order if isinstance(order, dict) and "type" not in order else {"faults": order}
        if unknown := sorted(order.keys() - {"faults", "fis", "seed", "compress"}):
            raise UsageError(f"{', '.join(unknown)}: that is unknown", _SHAPES)
        seed = order.get("seed", 0)
        if not isinstance(seed, int):
            raise UsageError(f"seed={seed!r} is no whole number", _SHAPES)
        if "fis" in order:
            if not isinstance(order["fis"], dict):
                raise UsageError("fis is no experiment template: it is no JSON object", _SHAPES)
            compress = order.get("compress", 1)
            if not isinstance(compress, int | float):
                raise UsageError(f"compress={compress!r} is no number", _SHAPES)
            experiment = fis.experiment(order["fis"], compress=compress)
            return {"added": self._added.add(experiment.faults, seed), "notes": list(experiment.notes)}
        faults = order.get("faults")
        faults = [faults] if isinstance(faults, dict) else faults
        if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
            raise UsageError("these are no faults", _SHAPES)
        return {"added": self._added.add(faults_from_json(faults), seed)}

    def _delete(self, name: str) -> dict[str, Any]:
        if name:
            self._added.remove([name])
        else:
            self._added.clear()
        return {}

    def _told(self) -> dict[str, Any]:
        schedule = self._stage.schedule
        return {
            "run": self._stage.busy() or None,
            "now": round(self._stage.clock(), 3),
            "faults": [_told(armed) for armed in schedule.faults],
            **({"broken": schedule.broken} if schedule.broken else {}),
        }


def _told(armed: Armed) -> dict[str, Any]:
    [fault] = to_json([armed.fault])
    return {
        "name": armed.fault.name,
        "fault": fault,
        "seed": armed.seed,
        "since": round(armed.since, 3),
        "fired": armed.fired,
        "last": _last(armed.last) if armed.last else None,
    }


def _last(call: Call) -> dict[str, Any]:
    return {field: getattr(call, field) for field in _OF_A_CALL} | {"at": round(call.at, 3)}


def document(body: bytes) -> Any:
    """The JSON of a request.

    Raises:
        UsageError: It is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}") from error


def answered(answer: Callable[[], Any], *, method: str, known: "dict[str, Any]") -> Reply:
    """What a route answers, its refusals included."""
    if method not in known:
        message = f"{method} is not answered here, only {', '.join(known)}"
        return json_reply(HTTPStatus.METHOD_NOT_ALLOWED, {"message": message}, Allow=", ".join(known))
    try:
        return json_reply(HTTPStatus.OK, answer())
    except TestbedError as error:
        status = HTTPStatus.CONFLICT if isinstance(error, RunGoesOnError) else HTTPStatus.BAD_REQUEST
        return json_reply(status, {"message": f"{error.message}; {error.hint}" if error.hint else error.message})
