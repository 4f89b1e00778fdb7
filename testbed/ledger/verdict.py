"""The verdict: three-valued, composed of claims, and written as ``verdict.json``.

Within one architecture unknown beats invalid: where the harness could not see everything, something that looks lost
may only be unseen, and an infrastructure failure must never look like lost data. Across architectures invalid beats
unknown: a violation that was proven for one stays proven, whatever could not be seen of another.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from testbed.errors import EXIT_INVALID, EXIT_UNKNOWN, EXIT_VALID, UsageError
from testbed.ledger.latency import Latency
from testbed.ledger.pace import Pace
from testbed.ledger.reconcile import Ledger
from testbed.printable import printable

SCHEMA_VERSION: Final = 1
_AT_ANY_SPEED: Final = ("lost", "duplicated", "unexpected", "refused_but_stored", "poison_stored")


class Verdict(StrEnum):
    """What a run has shown.

    Attributes:
        VALID: Every claim holds.
        INVALID: A claim was proven wrong.
        UNKNOWN: The harness can't tell.
    """

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return {Verdict.VALID: EXIT_VALID, Verdict.INVALID: EXIT_INVALID, Verdict.UNKNOWN: EXIT_UNKNOWN}[self]


@dataclass(frozen=True, slots=True)
class Claim:
    """An expectation after its check.

    Attributes:
        claim: What was expected, in words.
        holds: Whether it does; None where that could not be known.
        observed: What was seen, in words.
    """

    claim: str
    holds: bool | None
    observed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What an architecture needed at its peak, and how long it took to drain, in seconds."""

    peak_concurrency: int = 0
    peak_connections: int = 0
    throttles: int = 0
    cold_starts: int = 0
    peak_queue_depth: int = 0
    drain_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How many faults were armed, and how often faults fired."""

    armed: int = 0
    fired: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one architecture after the traffic: what the check of an expectation may look at.

    Attributes:
        ledger: What became of every request.
        latency_ms: Latency of the acknowledged requests.
        resources: Peaks and counts.
        faults: Armed and fired faults.
        causes: Ids of which no attempt was acknowledged, by cause; not part of ``verdict.json``.
    """

    ledger: Ledger = field(default_factory=Ledger)
    latency_ms: Latency = field(default_factory=Latency)
    resources: Resources = field(default_factory=Resources)
    faults: Faults = field(default_factory=Faults)
    causes: Mapping[str, AbstractSet[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim in words, and the check that decides whether it holds.

    Attributes:
        claim: What is expected, for example ``"no acknowledged order is lost"``.
        check: Takes the facts, returns whether the claim holds (None: can't be known) and what was observed, for
            example ``lambda facts: (facts.ledger.lost == 0, f"{facts.ledger.lost} lost")``.
    """

    claim: str
    check: Callable[[Facts], tuple[bool | None, str]]

    def evaluate(self, facts: Facts) -> Claim:
        """The claim with its result; a check that raises could not know."""
        try:
            holds, observed = self.check(facts)
        except Exception as error:  # noqa: BLE001 - a user's check; its error is the observation, never a pass
            return Claim(self.claim, None, printable(f"its check failed: {type(error).__name__}: {error}"))
        return Claim(self.claim, None if holds is None else bool(holds), printable(observed))


def blind_spots(
    *,
    died: str = "",
    drained: bool = True,
    never_fired: Iterable[str] = (),
    never_succeeded: Iterable[str] = (),
    too_slow: str = "",
) -> list[Claim]:
    """What the harness could not see of an architecture, as claims that make its verdict unknown; best none.

    Args:
        died: The part of the engine that ended, and how, for example ``"LocalStack ended with exit code 137"``.
        drained: Whether every source was empty before the deadline.
        never_fired: Names of armed faults that hit nothing: what they should have tested was not tested.
        never_succeeded: Kinds of operations of which not one succeeded: the way was blocked from the start.
        too_slow: Why the machine was too slow for what failed to count, see `excuse`.
    """
    reasons = [died] if died else []
    if not drained:
        reasons.append("the sources were not drained by the deadline")
    reasons += [f"the armed fault {fault} never fired" for fault in never_fired]
    reasons += [f"not one {operation} succeeded" for operation in never_succeeded]
    if too_slow:
        reasons.append(f"the machine was too slow: {too_slow}")
    return [Claim("the harness could see everything", None, reason) for reason in reasons]


def excuse(claims: Iterable[Claim], ledger: Ledger, pace: Pace) -> str:
    """Why what fails may be the fault of the machine alone, in words; empty where it is not.

    A slow machine makes everything harder and nothing easier: clients and functions time out, messages are received
    too often, so what fails is not proven wrong, and what holds does hold. And it hides nothing: where the drained
    system has lost an order that it had accepted, stored one twice, one that it had refused, one that nobody sent or
    one that is poison, that is wrong at any speed.
    """
    if all(claim.holds is not False for claim in claims):
        return ""
    return "" if any(getattr(ledger, name) for name in _AT_ANY_SPEED) else pace.too_slow()


def judge(claims: Iterable[Claim]) -> Verdict:
    """The verdict of one architecture: unknown beats invalid; nothing claimed is nothing known."""
    values = [claim.holds for claim in claims]
    if not values or None in values:
        return Verdict.UNKNOWN
    return Verdict.VALID if all(values) else Verdict.INVALID


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over architectures: invalid beats unknown beats valid; no architecture is nothing known."""
    seen = set(verdicts)
    for verdict in (Verdict.INVALID, Verdict.UNKNOWN, Verdict.VALID):
        if verdict in seen:
            return verdict
    return Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class ArchitectureVerdict:
    """The facts of one architecture, and what its expectations came to."""

    facts: Facts
    expectations: tuple[Claim, ...]

    @property
    def verdict(self) -> Verdict:
        """See `judge`."""
        return judge(self.expectations)

    def to_json(self) -> dict[str, Any]:
        """This architecture's part of ``verdict.json``."""
        ledger = asdict(self.facts.ledger)
        examples = {name: list(ids) for name, ids in ledger.pop("examples").items() if ids}
        return {
            "verdict": self.verdict.value,
            "ledger": ledger,
            "examples": examples,
            "latency_ms": asdict(self.facts.latency_ms),
            "resources": asdict(self.facts.resources),
            "faults": asdict(self.facts.faults),
            "expectations": [asdict(claim) for claim in self.expectations],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Reads back what `to_json` wrote; see `RunVerdict.from_json` for what can be wrong with it."""
        examples = {name: tuple(ids) for name, ids in document["examples"].items()}
        facts = Facts(
            ledger=Ledger(**document["ledger"], examples=examples),
            latency_ms=Latency(**document["latency_ms"]),
            resources=Resources(**document["resources"]),
            faults=Faults(**document["faults"]),
        )
        return cls(facts, tuple(Claim(**claim) for claim in document["expectations"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What the run ran on.

    Attributes:
        mode: ``"process"`` or ``"container"``.
        emulator: ``"localstack"``.
        emulator_version: Its version.
        postgres_version: Version of Postgres.
        max_connections: Postgres's setting.
    """

    mode: str
    emulator: str
    emulator_version: str
    postgres_version: str
    max_connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict:
    """The whole of ``verdict.json``."""

    scenario: str
    seed: int
    engine: EngineFacts
    architectures: Mapping[str, ArchitectureVerdict]

    @property
    def verdict(self) -> Verdict:
        """See `combine`."""
        return combine(architecture.verdict for architecture in self.architectures.values())

    def to_json(self) -> dict[str, Any]:
        """The document, ready for `json.dumps`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario,
            "seed": self.seed,
            "verdict": self.verdict.value,
            "engine": asdict(self.engine),
            "architectures": {name: found.to_json() for name, found in self.architectures.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Reads back what `to_json` wrote.

        Raises:
            UsageError: The document has another schema version, or is not a verdict at all.
        """
        version = document.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"verdict.json has schema_version {version!r}, this testbed reads {SCHEMA_VERSION}",
                "read it with the version of the testbed that wrote it (manifest.json names it)",
            )
        try:
            return cls(
                scenario=document["scenario"],
                seed=document["seed"],
                engine=EngineFacts(**document["engine"]),
                architectures={
                    name: ArchitectureVerdict.from_json(part) for name, part in document["architectures"].items()
                },
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(
                f"verdict.json is damaged: {type(error).__name__}: {error}", "run the scenario again"
            ) from error
