"""Never valid where a fault did not fire, however well everything else went."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from postgres_server import Server

from testbed import Architecture, Constant, Db, Poison, Scenario, Throttle, Traffic, claims
from testbed import trial as trial_module
from testbed.chaos.call import Call
from testbed.chaos.fault import Fault
from testbed.chaos.schedule import Hit, Schedule
from testbed.chaos.timed import TimedFault, World
from testbed.ledger.history import Attempt, HistoryWriter, Outcome
from testbed.ledger.pace import Pace
from testbed.ledger.reconcile import Observed
from testbed.ledger.verdict import ArchitectureVerdict
from testbed.run_folder import RunFolder
from testbed.trial import Trial, _at_rest

ORDERS = 10
SEND = Call(service="sqs", operation="SendMessage", resource="q", caller="client", identity="o-1", attempt=1, at=0.0)
QUIET, BUSY = Pace(ran=9, waited=1), Pace(ran=1, waited=9)
RESOURCES = dict.fromkeys(("peak_concurrency", "peak_connections", "throttles", "cold_starts", "peak_queue_depth"), 0)


@dataclass(frozen=True, kw_only=True)
class Harmless(TimedFault):
    """Happens, and does nothing."""

    @asynccontextmanager
    async def happening(self, world: World) -> AsyncIterator[bool]:  # noqa: ARG002 - nothing of it is needed
        yield True


class FakePlane:
    """Takes every order."""

    async def call(self, _route: str, **_order: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[HistoryWriter]:
    """Where attempts go."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        yield writer


def on_trial(history: HistoryWriter, tmp_path: Path, *chaos: Fault, orders: int = ORDERS) -> Trial:
    """An architecture that has drained, whose expectation holds."""
    scenario = Scenario(
        name="s",
        summary="",
        traffic=Traffic(
            arrivals=Constant(rate=1000, seconds=orders / 1000), order=lambda order_id, _: {"id": order_id, "n": 1}
        ),
        chaos=chaos,
        architectures=[
            Architecture(
                name="a",
                summary="",
                deploy=lambda _aws, _db: pytest.fail("not deployed here"),
                expectations=[claims.no_acknowledged_order_is_lost(), claims.every_order_is_accepted()],
            )
        ],
    )
    folder = RunFolder(tmp_path, "s", 1)
    folder.journal.touch()
    bed: Any = SimpleNamespace(plane=FakePlane(), engine=None)
    trial = Trial(
        bed=bed,
        scenario=scenario,
        architecture=scenario.architectures[0],
        seed=1,
        replayed=None,
        requests=scenario.traffic.plan(1, scenario.poison),
        folder=folder,
        history=history,
        show=lambda _: None,
    )
    trial.drained = True
    return trial


def judged(
    trial: Trial,
    fired: dict[str, int],
    *,
    unsent: Sequence[str] = (),
    lost: bool = False,
    behind: Sequence[str] = (),
    unanswered: Sequence[str] = (),
    pace: Pace = QUIET,
) -> ArchitectureVerdict:
    """The verdict where every order was sent, answered and stored, but for those ``unsent`` or ``unanswered``."""
    for request in trial.requests:
        left = request.id not in unsent
        answer = Outcome.UNKNOWN if request.id in unanswered else Outcome.ACKNOWLEDGED
        trial._record(
            Attempt(
                architecture="a",
                id=request.id,
                planned=request.planned,
                sent=0.0 if left else None,
                finished=0.1 if left else None,
                outcome=answer if left else Outcome.UNSENT,
                trace="1-a",
                poison=request.poison,
            )
        )
    stored = {} if lost else {request.id: 1 for request in trial.requests if request.id not in unsent}
    end = {"resources": RESOURCES, "fired": fired, "pace": asdict(pace)}
    del end["pace"]["late"]  # the load generator's own
    trial.late = pace.late
    return trial._verdict(Observed(stored=stored, left=set(behind)), end, 0.0)


def blind(verdict: ArchitectureVerdict) -> list[str]:
    return [claim.observed for claim in verdict.expectations if claim.holds is None]


def never(name: str) -> list[str]:
    return [f"the armed fault {name} never fired"]


async def test_each_fault_has_fired_where_a_verdict_is_valid(history: HistoryWriter, tmp_path: Path) -> None:
    """Of calls as the plane counts them, and poison that was planted: the sum is of calls alone."""
    trial = on_trial(history, tmp_path, Throttle(service="sqs"), Poison(every=5))
    found = judged(trial, {"throttle-1": 3})
    assert (found.verdict, blind(found)) == ("valid", [])
    assert (found.facts.faults.armed, found.facts.faults.fired) == (1, 3)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("fired", [{"throttle-1": 0}, {}])
async def test_a_fault_of_calls_that_hit_none_makes_it_unknown(
    history: HistoryWriter, tmp_path: Path, fired: dict[str, int], *, lost: bool
) -> None:
    """Also one that somebody took away meanwhile, and also where orders are lost: the test was another one."""
    found = judged(on_trial(history, tmp_path, Throttle(service="sqs")), fired, lost=lost)
    assert found.facts.ledger.lost == ORDERS * lost
    assert (found.verdict, blind(found)) == ("unknown", never("throttle-1"))
    assert found.facts.faults.armed == 1


async def test_one_fault_that_fired_does_not_stand_for_another(history: HistoryWriter, tmp_path: Path) -> None:
    """Each is named."""
    trial = on_trial(history, tmp_path, Throttle(service="sqs"), Throttle(service="kinesis", name="other"))
    found = judged(trial, {"throttle-1": 9, "other": 0})
    assert (found.verdict, blind(found)) == ("unknown", never("other"))


@pytest.mark.parametrize(("at", "verdict"), [(0.0, "valid"), (60.0, "unknown")])
async def test_a_timed_fault_whose_time_did_not_come_makes_it_unknown(
    history: HistoryWriter, tmp_path: Path, at: float, verdict: str
) -> None:
    """The run had ended before it."""
    trial = on_trial(history, tmp_path, Harmless(at=at, seconds=0.001))
    trial.timetable.start(time.monotonic())
    while at == 0 and not any(trial.timetable.fired.values()):  # noqa: ASYNC110 - nobody is told when it happens
        await asyncio.sleep(0.001)
    await trial.timetable.stop()
    found = judged(trial, {})
    assert found.verdict == verdict
    assert blind(found) == ([] if verdict == "valid" else never("harmless-1"))


async def test_poison_that_planted_nothing_makes_it_unknown(history: HistoryWriter, tmp_path: Path) -> None:
    """One order in a hundred, of ten."""
    found = judged(on_trial(history, tmp_path, Poison(every=100)), {})
    assert (found.verdict, blind(found)) == ("unknown", never("poison-1"))
    assert found.facts.ledger.poison == 0


async def test_poison_that_never_left_the_client_makes_it_unknown(history: HistoryWriter, tmp_path: Path) -> None:
    """What was planned and not sent has tested nothing."""
    trial = on_trial(history, tmp_path, Poison(every=10))
    poison = [request.id for request in trial.requests if request.poison]
    found = judged(trial, {}, unsent=poison)
    assert len(poison) == found.facts.ledger.poison == found.facts.ledger.unsent == 1
    assert (found.verdict, blind(found)) == ("unknown", never("poison-1"))


@pytest.mark.parametrize(
    ("replayed", "verdict"),
    [
        (set[Hit](), "unknown"),
        ({("throttle-1", "o-2", 1)}, "unknown"),
        ({("throttle-1", SEND.identity, 2)}, "unknown"),
        ({("other", SEND.identity, 1)}, "unknown"),
        ({("throttle-1", SEND.identity, 1)}, "valid"),
    ],
)
async def test_a_replay_that_hits_nothing_is_unknown(
    history: HistoryWriter, tmp_path: Path, replayed: set[Hit], verdict: str
) -> None:
    """A fault that did not fire in the run before, or whose calls did not come again, fires in no replay."""
    trial = on_trial(history, tmp_path, Throttle(service="sqs"))
    schedule = Schedule(trial.faults, 1, replayed=replayed)
    schedule.decide(SEND)
    assert judged(trial, schedule.fired).verdict == verdict


async def test_a_fault_whose_hits_were_all_masked_makes_it_unknown(history: HistoryWriter, tmp_path: Path) -> None:
    """Another one had answered each of its calls before, and nothing of it reached anybody."""
    faults = (Throttle(service="sqs", name="first"), Throttle(service="sqs", name="behind"))
    trial = on_trial(history, tmp_path, *faults)
    schedule = Schedule(trial.faults, 1)
    for number in range(5):
        schedule.decide(replace(SEND, identity=f"o-{number}"))
    found = judged(trial, schedule.fired)
    assert (found.verdict, blind(found)) == ("unknown", never("behind"))
    assert found.facts.faults.fired == 5


async def test_what_a_broken_off_trial_has_seen_is_what_its_clients_saw(history: HistoryWriter, tmp_path: Path) -> None:
    """Nobody has looked where the orders are: not one of them is called lost."""
    trial = on_trial(history, tmp_path, Poison(every=5))
    judged(trial, {}, lost=True)
    found = trial.broken_off("LocalStack was killed by SIGKILL")
    assert found.verdict == "unknown"
    ledger = found.facts.ledger
    assert (ledger.attempted, ledger.acknowledged, ledger.lost, ledger.poison, ledger.examples) == (10, 10, 0, 0, {})
    assert found.facts.latency_ms.max > 0


async def test_an_order_in_a_source_makes_it_unknown(history: HistoryWriter, tmp_path: Path) -> None:
    """However quiet everything looked: the source was not drained."""
    trial = on_trial(history, tmp_path)
    found = judged(trial, {}, behind=[trial.requests[0].id])
    assert (found.verdict, blind(found)) == ("unknown", ["the sources were not drained by the deadline"])


@pytest.mark.parametrize(
    ("pace", "reason"),
    [
        (BUSY, "the data plane waited for a processor 90% of the time that it had work"),
        (Pace(late=3.0), "orders left up to 3.0 s late"),
    ],
)
async def test_an_order_that_timed_out_on_a_busy_machine_proves_nothing(
    history: HistoryWriter, tmp_path: Path, pace: Pace, reason: str
) -> None:
    """On a quiet one it does, and where all orders are answered a busy one does not matter."""
    trials = [on_trial(history, tmp_path) for _ in range(3)]
    late = [trials[0].requests[0].id]
    unknown = judged(trials[0], {}, unanswered=late, pace=pace)
    assert (unknown.verdict, blind(unknown)) == ("unknown", [f"the machine was too slow: {reason}"])
    assert judged(trials[1], {}, unanswered=late).verdict == "invalid"
    assert judged(trials[2], {}, pace=pace).verdict == "valid"


async def test_a_busy_machine_hides_no_lost_order(history: HistoryWriter, tmp_path: Path) -> None:
    """Everything was looked at after the drain: what was accepted and is nowhere is lost."""
    trial = on_trial(history, tmp_path)
    found = judged(trial, {}, unanswered=[trial.requests[0].id], lost=True, pace=BUSY)
    assert (found.verdict, blind(found)) == ("invalid", [])
    assert found.facts.ledger.lost == ORDERS - 1


def test_postgres_is_at_rest_once_its_last_statement_has_ended(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement goes on without its client; an open session that does nothing keeps nobody waiting."""
    db = Db(postgres_server.dsn(), postgres_server.dsn())
    with psycopg.connect(postgres_server.dsn()) as idle, psycopg.connect(postgres_server.dsn()) as client:
        idle.execute("SELECT 1")
        assert _at_rest(db)
        client.pgconn.send_query(b"SELECT pg_sleep(0.5)")
        client.pgconn.finish()
        sent = time.monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(trial_module, "_REST_SECONDS", 0.0)
            while _at_rest(db):
                assert time.monotonic() - sent < 0.4, "the statement was never seen"
        assert _at_rest(db)
        assert time.monotonic() - sent > 0.4
