"""Experiment templates of AWS Fault Injection Service as faults: the JSON that its create-experiment-template takes.

``Scenario(chaos=[*fis.faults("template.json")])``, or ``{"fis": ...}`` on a testbed that stands. What a template says
of roles, logs and reports has no meaning here and is left alone. Source: AWS FIS user guide, Actions reference and
Experiment templates.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.chaos.fault import Fault, Window
from testbed.chaos.faults.invocation import InvocationDelay, InvocationError, InvocationHttpResponse
from testbed.chaos.faults.part_down import PartDown
from testbed.chaos.faults.service_error import ServiceError
from testbed.chaos.faults.throttle import Throttle
from testbed.chaos.fis_shape import misshapen
from testbed.errors import UsageError

_DURATION: Final = re.compile(r"P(?!$)(?:(\d{1,9})D)?(?:T(?!$)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?")
_NUMBER: Final = re.compile(r"\d{1,9}")
_SELECTION: Final = re.compile(r"(COUNT|PERCENT)\((\d{1,9})\)")
_SERVICE_ROLES: Final = ("function", "mapping")
_STREAM_OPERATIONS: Final = ("GetRecords", "GetShardIterator", "PutRecord", "PutRecords")
_API_ERRORS: Final[Mapping[tuple[str, str], tuple[str, int]]] = {
    ("internal", "kinesis"): ("InternalFailure", 500),
    ("throttle", "kinesis"): ("ThrottlingException", 400),
    ("unavailable", "kinesis"): ("ServiceUnavailable", 503),
    ("internal", "ec2"): ("InternalError", 500),
    ("throttle", "ec2"): ("RequestLimitExceeded", 503),
    ("unavailable", "ec2"): ("Unavailable", 503),
}
"""Kinesis Data Streams developer guide, resilience testing with FIS; EC2 API reference, error codes."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """A template as this testbed runs it.

    Attributes:
        faults: Named as the actions.
        notes: What the template asks for that is not done here, for people.
    """

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def faults(
    template: str | Path | Mapping[str, Any], *, compress: float = 1.0, down_seconds: float = 30.0
) -> list[Fault]:
    """The faults of a template; what it asks for that is not done here is logged as a warning.

    Args:
        template: As `experiment`.
        compress: As `experiment`.
        down_seconds: As `experiment`.

    Raises:
        UsageError: As `experiment`.
    """
    found = experiment(template, compress=compress, down_seconds=down_seconds)
    for note in found.notes:
        _log.warning("%s", note)
    return list(found.faults)


def experiment(
    template: str | Path | Mapping[str, Any], *, compress: float = 1.0, down_seconds: float = 30.0
) -> Experiment:
    """Read a template.

    An action without ``startAfter`` begins with the traffic, the others when all those have ended; its ``duration`` is
    the fault's window. FIS takes no less than a minute, which is longer than many scenarios: see ``compress``.

    - A target is what its ``resourceArns`` name: the template is read before anything is deployed, so there are no tags
      to select by. Of ``COUNT(n)`` and ``PERCENT(n)`` the first are taken, where FIS chooses at random.
    - An IAM role stands for all functions and their mappings: nothing here checks who may call what.
    - ``aws:fis:inject-api-...`` takes every service, FIS only ``ec2`` and ``kinesis``.
    - ``aws:rds:...`` kills Postgres, and starts it again.
    - Calls of GetRecords tell a stream only where their caller sends its ``StreamARN``, which mappings do.

    Args:
        template: A file with it, or the document; what ``aws fis get-experiment-template`` prints will do.
        compress: Divides every duration of the template.
        down_seconds: How long Postgres is down after ``aws:rds:...``; AWS names no number, for Aurora "often less than
            30 seconds" (Aurora user guide, high availability). It is not divided.

    Raises:
        UsageError: It is no template, or one of its actions has no meaning here.
    """
    document = _document(template)
    actions: Mapping[str, Any] = document.get("actions") or {}
    if not actions or not all(action.get("actionId") for action in actions.values()):
        raise UsageError("this is no experiment template: it has no actions with an actionId each", _HINT)
    if compress <= 0:
        raise UsageError(f"compress={compress} is not more than 0", "it divides the durations of the template")
    reading = _Reading(document.get("targets") or {}, actions, compress, down_seconds)
    found = [fault for name in actions if (fault := reading.fault(name)) is not None]
    stops = [each for each in document.get("stopConditions") or () if each.get("source") != "none"]
    notes = [f"stop conditions are not watched here: {each.get('value', each)}" for each in stops]
    return Experiment(tuple(found), tuple(notes))


_HINT: Final = "AWS FIS user guide, Experiment templates, says what one looks like"


def _document(template: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    document: Any = template
    if isinstance(template, str | Path):
        try:
            document = json.loads(Path(template).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{template} is no experiment template: {error}", "give the path of its JSON") from error
    if isinstance(document, Mapping):
        document = document.get("experimentTemplate", document)
    if not isinstance(document, Mapping):
        raise UsageError("this is no experiment template: it is no JSON object", _HINT)
    if wrong := misshapen(document):
        raise UsageError(f"this is no experiment template: {wrong}", _HINT)
    return document


class _Reading:
    """Makes the faults of one template."""

    def __init__(
        self, targets: Mapping[str, Any], actions: Mapping[str, Any], compress: float, down_seconds: float
    ) -> None:
        self._targets = targets
        self._actions = actions
        self._compress = compress
        self._down_seconds = down_seconds
        self._ends: dict[str, float | None] = {}

    def fault(self, name: str) -> Fault | None:
        """The fault of an action; None for one that only waits."""
        action = self._actions[name]
        make = _ACTIONS.get(action["actionId"])
        if make is None:
            raise UsageError(
                f"the action {action['actionId']!r} ({name}) has no meaning here",
                f"those that have: {', '.join(sorted(_ACTIONS))}",
            )
        self._end(name)
        return make(self, name)

    def window(self, name: str) -> Window:
        """From when to when an action lasts, in seconds after the start of the experiment."""
        return self.start(name), self._end(name)

    def start(self, name: str) -> float:
        """When an action begins: once those that it comes after have ended."""
        return max((self._end(other) for other in self._actions[name].get("startAfter") or ()), default=0.0)

    def _end(self, name: str) -> float:
        if name not in self._actions:
            raise UsageError(f"startAfter names {name!r}, and there is no such action", _HINT)
        if name not in self._ends:
            self._ends[name] = None
            self._ends[name] = self.start(name) + self._lasts(name)
        end = self._ends[name]
        if end is None:
            raise UsageError(f"the action {name!r} starts after itself", "mend its startAfter")
        return end

    def _lasts(self, name: str) -> float:
        if self._actions[name]["actionId"] in _AT_ONCE:
            return 0.0
        text = str(self.parameter(name, "duration"))
        found = _DURATION.fullmatch(text)
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if not total:
            raise self.refused(name, f"duration={text!r} is no duration: PT2M is two minutes")
        return total / self._compress

    def parameter(self, name: str, key: str, default: str | None = None) -> str:
        """A parameter of an action; they are all texts in FIS."""
        value = (self._actions[name].get("parameters") or {}).get(key, default)
        if value is None:
            raise self.refused(name, f"the parameter {key!r} is missing")
        return str(value)

    def number(self, name: str, key: str, default: str | None = None) -> int:
        """The same, a whole number."""
        text = self.parameter(name, key, default)
        if not _NUMBER.fullmatch(text):
            raise self.refused(name, f"{key}={text!r} is no number")
        return int(text)

    def chance(self, name: str, key: str, default: str | None = None) -> float:
        """The same, a percentage, as a probability."""
        percent = self.number(name, key, default)
        if not 1 <= percent <= 100:  # noqa: PLR2004 - percent
            raise self.refused(name, f"{key}={percent} is not between 1 and 100")
        return percent / 100

    def truth(self, name: str, key: str) -> bool:
        """The same, ``"true"`` or ``"false"``."""
        text = self.parameter(name, key).lower()
        if text not in {"true", "false"}:
            raise self.refused(name, f"{key}={text!r} is neither true nor false")
        return text == "true"

    def names(self, name: str) -> tuple[str, ...]:
        """The names of an action's targets, of which it has one kind."""
        targets = [self._target(name, each) for each in (self._actions[name].get("targets") or {}).values()]
        if len(targets) != 1:
            raise self.refused(name, f"it needs one target, and has {len(targets)}")
        arns = targets[0].get("resourceArns") or []
        if not arns:
            raise self.refused(name, "its target has no resourceArns: tags and filters select nothing here")
        if found := _SELECTION.fullmatch(targets[0].get("selectionMode") or "ALL"):
            arns = arns[: int(found[2]) if found[1] == "COUNT" else len(arns) * int(found[2]) // 100]
        elif targets[0].get("selectionMode", "ALL") != "ALL":
            raise self.refused(
                name, f"selectionMode={targets[0]['selectionMode']!r} is not ALL, COUNT(n) or PERCENT(n)"
            )
        if not arns:
            raise self.refused(name, f"{targets[0]['selectionMode']} of its targets is none")
        return tuple(_name(arn) for arn in arns)

    def _target(self, name: str, target: str) -> Mapping[str, Any]:
        if target not in self._targets:
            raise self.refused(name, f"there is no target {target!r}")
        found: Mapping[str, Any] = self._targets[target]
        return found

    def refused(self, name: str, why: str) -> UsageError:
        """The error for an action that makes no sense."""
        return UsageError(f"{self._actions[name]['actionId']} ({name}): {why}", "see the AWS FIS Actions reference")

    # The actions.

    def delay(self, name: str) -> Fault:
        """``aws:lambda:invocation-add-delay``."""
        return InvocationDelay(
            name=name,
            resources=self.names(name),
            seconds=self.number(name, "startupDelayMilliseconds", "1000") / 1000,
            probability=self.chance(name, "invocationPercentage", "100"),
            during=self.window(name),
        )

    def error(self, name: str) -> Fault:
        """``aws:lambda:invocation-error``."""
        return InvocationError(
            name=name,
            resources=self.names(name),
            prevent_execution=self.truth(name, "preventExecution"),
            probability=self.chance(name, "invocationPercentage", "100"),
            during=self.window(name),
        )

    def http_response(self, name: str) -> Fault:
        """``aws:lambda:invocation-http-integration-response``."""
        return InvocationHttpResponse(
            name=name,
            resources=self.names(name),
            status=self.number(name, "statusCode"),
            content_type=self.parameter(name, "contentTypeHeader"),
            prevent_execution=self.truth(name, "preventExecution"),
            probability=self.chance(name, "invocationPercentage", "100"),
            during=self.window(name),
        )

    def api_error(self, name: str, kind: str) -> Fault:
        """``aws:fis:inject-api-...``."""
        service = self.parameter(name, "service")
        operations = tuple(part.strip() for part in self.parameter(name, "operations").split(",") if part.strip())
        common: dict[str, Any] = {
            "name": name,
            "service": service,
            "operations": operations,
            "callers": _SERVICE_ROLES,
            "probability": self.chance(name, "percentage"),
            "during": self.window(name),
        }
        if known := _API_ERRORS.get((kind, service)):
            return ServiceError(code=known[0], status=known[1], **common)
        if kind == "throttle":
            return Throttle(**common)
        return (
            ServiceError(**common)
            if kind == "internal"
            else ServiceError(code="ServiceUnavailable", status=503, **common)
        )

    def throughput(self, name: str) -> Fault:
        """``aws:kinesis:stream-provisioned-throughput-exception``."""
        return Throttle(
            name=name,
            service="kinesis",
            operations=_STREAM_OPERATIONS,
            resources=self.names(name),
            probability=self.chance(name, "percentage"),
            during=self.window(name),
        )

    def expired_iterator(self, name: str) -> Fault:
        """``aws:kinesis:stream-expired-iterator-exception``."""
        return ServiceError(
            name=name,
            service="kinesis",
            operations=("GetRecords",),
            resources=self.names(name),
            code="ExpiredIteratorException",
            status=400,
            message="Iterator expired.",
            probability=self.chance(name, "percentage"),
            during=self.window(name),
        )

    def database_down(self, name: str) -> Fault:
        """``aws:rds:...``."""
        return PartDown(name=name, part="postgres", action="kill", at=self.start(name), seconds=self._down_seconds)

    def wait(self, name: str) -> None:
        """``aws:fis:wait``: others start after it."""


_ACTIONS: Final[Mapping[str, Callable[[_Reading, str], Fault | None]]] = {
    "aws:lambda:invocation-add-delay": _Reading.delay,
    "aws:lambda:invocation-error": _Reading.error,
    "aws:lambda:invocation-http-integration-response": _Reading.http_response,
    "aws:fis:inject-api-internal-error": lambda reading, name: reading.api_error(name, "internal"),
    "aws:fis:inject-api-throttle-error": lambda reading, name: reading.api_error(name, "throttle"),
    "aws:fis:inject-api-unavailable-error": lambda reading, name: reading.api_error(name, "unavailable"),
    "aws:kinesis:stream-provisioned-throughput-exception": _Reading.throughput,
    "aws:kinesis:stream-expired-iterator-exception": _Reading.expired_iterator,
    "aws:rds:failover-db-cluster": _Reading.database_down,
    "aws:rds:reboot-db-instances": _Reading.database_down,
    "aws:fis:wait": _Reading.wait,
}
_AT_ONCE: Final = frozenset({"aws:rds:failover-db-cluster", "aws:rds:reboot-db-instances"})


def _name(arn: str) -> str:
    """The name in an ARN of a function (its qualifier left out), a stream or whatever has its name last."""
    parts = arn.split(":")
    last = parts[6] if "function" in parts[5:6] else parts[-1]
    return last.rpartition("/")[2]
