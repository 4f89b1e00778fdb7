"""Three values, how they compose, and the document they are written to."""

import json
from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.ledger.latency import Latency
from testbed.ledger.pace import Pace
from testbed.ledger.reconcile import ANOMALIES, Ledger
from testbed.ledger.verdict import (
    ArchitectureVerdict,
    Claim,
    EngineFacts,
    Expectation,
    Facts,
    Faults,
    Resources,
    RunVerdict,
    Verdict,
    blind_spots,
    combine,
    excuse,
    judge,
)

VALID, INVALID, UNKNOWN = Verdict.VALID, Verdict.INVALID, Verdict.UNKNOWN
HOLDS, FAILS, CANT_KNOW = (Claim("c", value, "o") for value in (True, False, None))


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ([HOLDS, HOLDS], VALID),
        ([HOLDS, FAILS], INVALID),
        ([HOLDS, CANT_KNOW], UNKNOWN),
        ([FAILS, CANT_KNOW, HOLDS], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_within_an_architecture_unknown_beats_invalid(claims: list[Claim], verdict: Verdict) -> None:
    """What looks lost may only be unseen; and claiming nothing proves nothing."""
    assert judge(claims) is verdict


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([VALID, VALID], VALID),
        ([VALID, UNKNOWN], UNKNOWN),
        ([UNKNOWN, INVALID, VALID], INVALID),
        ([], UNKNOWN),
    ],
)
def test_across_architectures_invalid_beats_unknown(verdicts: list[Verdict], verdict: Verdict) -> None:
    """A proven violation stays proven, whatever could not be seen elsewhere."""
    assert combine(verdicts) is verdict


def test_exit_codes_are_those_of_the_contract() -> None:
    """Scripts rely on them."""
    assert [verdict.exit_code for verdict in (VALID, INVALID, UNKNOWN)] == [0, 1, 2]


def test_an_expectation_becomes_a_claim_about_the_facts() -> None:
    """The check decides, and says what it saw."""
    none_lost = Expectation("no order is lost", lambda f: (f.ledger.lost == 0, f"{f.ledger.lost} lost"))
    assert none_lost.evaluate(Facts()) == Claim("no order is lost", True, "0 lost")  # noqa: FBT003
    assert none_lost.evaluate(Facts(ledger=Ledger(lost=2))) == Claim("no order is lost", False, "2 lost")  # noqa: FBT003


def test_a_check_that_raises_could_not_know() -> None:
    """A mistake in a scenario neither passes nor takes the other claims with it."""
    claim = Expectation("c", lambda f: (f.causes["throttle"] == set(), "")).evaluate(Facts())
    assert claim == Claim("c", None, "its check failed: KeyError: 'throttle'")


def test_a_check_that_answers_zero_does_not_hold() -> None:
    """Python's other falsehoods are falsehoods too."""
    assert Expectation("c", lambda _: (0, "none")).evaluate(Facts()).holds is False  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("observed", "said"), [(3, "3"), ({"throttle"}, "{'throttle'}"), ("a\ud800\0", r"a\ud800\x00"), (None, "None")]
)
def test_what_a_check_saw_can_be_written_down_whatever_it_is(observed: Any, said: str) -> None:
    """It goes into JSON, HTML, XML and onto a terminal."""
    assert Expectation("c", lambda _: (True, observed)).evaluate(Facts()).observed == said


def test_every_blind_spot_is_a_reason_of_its_own() -> None:
    """Each makes the verdict unknown, even next to a claim that fails."""
    claims = blind_spots(
        died="LocalStack ended with exit code 137",
        drained=False,
        never_fired=["slow database"],
        never_succeeded=["insert"],
        too_slow="orders left late",
    )
    assert [(claim.holds, claim.observed) for claim in claims] == [
        (None, "LocalStack ended with exit code 137"),
        (None, "the sources were not drained by the deadline"),
        (None, "the armed fault slow database never fired"),
        (None, "not one insert succeeded"),
        (None, "the machine was too slow: orders left late"),
    ]
    assert {judge([FAILS, claim]) for claim in claims} == {UNKNOWN}


@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        ({"died": "Postgres was killed by SIGKILL"}, ["Postgres was killed by SIGKILL"]),
        ({"drained": False}, ["the sources were not drained by the deadline"]),
        ({"never_fired": ["a", "b"]}, ["the armed fault a never fired", "the armed fault b never fired"]),
        ({"never_succeeded": ["order"]}, ["not one order succeeded"]),
        ({"too_slow": "it stood still"}, ["the machine was too slow: it stood still"]),
        ({"died": "", "drained": True, "never_fired": [], "never_succeeded": []}, []),
    ],
)
def test_each_blind_spot_alone(seen: dict[str, Any], reasons: list[str]) -> None:
    """One reason each, and the verdict of claims that all hold is unknown as soon as there is one."""
    claims = blind_spots(**seen)
    assert [claim.observed for claim in claims] == reasons
    assert {claim.claim for claim in claims} <= {"the harness could see everything"}
    assert judge([HOLDS, *claims]) is (UNKNOWN if reasons else VALID)


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        ([HOLDS], VALID),
        ([FAILS], INVALID),
        ([CANT_KNOW], UNKNOWN),
        ([FAILS, FAILS], INVALID),
        ([FAILS, HOLDS], INVALID),
    ],
)
def test_one_claim_decides_whatever_its_place(claims: list[Claim], verdict: Verdict) -> None:
    """The order in which things are claimed says nothing."""
    assert judge(claims) is judge(claims[::-1]) is judge(iter(claims)) is verdict


@pytest.mark.parametrize(("verdicts", "verdict"), [([INVALID], INVALID), ([UNKNOWN], UNKNOWN), ([VALID], VALID)])
def test_one_architecture_is_the_whole_run(verdicts: list[Verdict], verdict: Verdict) -> None:
    """Also where it comes more than once, and from an iterator."""
    assert combine(verdicts) is combine(iter(verdicts * 3)) is verdict


def test_a_check_may_say_that_it_can_t_be_known() -> None:
    """None stays None, and what was observed is kept."""
    assert Expectation("c", lambda _: (None, "no clock")).evaluate(Facts()) == Claim("c", None, "no clock")


def test_a_harness_that_saw_everything_has_no_blind_spot() -> None:
    """Nothing is claimed then, so that the expectations decide alone."""
    assert blind_spots() == []


SLOW = Pace(late=60)


def test_what_fails_on_a_slow_machine_is_excused() -> None:
    """Not what holds there, and nothing on a machine that kept up."""
    assert excuse([HOLDS, FAILS], Ledger(), SLOW) == SLOW.too_slow() != ""
    assert excuse([HOLDS, CANT_KNOW], Ledger(), SLOW) == ""
    assert excuse([HOLDS, FAILS], Ledger(), Pace()) == ""


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_what_is_wrong_at_any_speed_is_not_excused(anomaly: str) -> None:
    """Unlike ghosts and good orders among the dead letters, which timeouts make."""
    found = excuse([FAILS], Ledger(**{anomaly: 1}), SLOW)
    assert found == (SLOW.too_slow() if anomaly in {"ghost", "collateral"} else "")


def run_verdict() -> RunVerdict:
    facts = Facts(
        ledger=Ledger(attempted=3, acknowledged=3, stored=2, lost=1, examples={"lost": ("o-1",)}),
        latency_ms=Latency(p50=1.5, p95=2, p99=3, p999=4, max=5),
        resources=Resources(peak_concurrency=7, drain_seconds=0.25),
        faults=Faults(armed=2, fired=40),
        causes={"throttle": {"o-2"}},
    )
    return RunVerdict(
        scenario="flash-sale",
        seed=42,
        engine=EngineFacts(
            mode="process",
            emulator="localstack",
            emulator_version="4.9.2",
            postgres_version="16.14",
            max_connections=20,
        ),
        architectures={"sync": ArchitectureVerdict(facts, (Claim("no order is lost", False, "1 of 3"),))},  # noqa: FBT003
    )


def test_the_document_is_exactly_the_contract() -> None:
    """Names, nesting and order are fixed: other tools read it."""
    ledger = {
        "attempted": 3,
        "acknowledged": 3,
        "refused": 0,
        "unknown": 0,
        "unsent": 0,
        "stored": 2,
        "dead_lettered": 0,
        "left": 0,
        "lost": 1,
        "duplicated": 0,
        "ghost": 0,
        "unexpected": 0,
        "refused_but_stored": 0,
        "poison": 0,
        "poison_stored": 0,
        "collateral": 0,
    }
    resources = {
        "peak_concurrency": 7,
        "peak_connections": 0,
        "throttles": 0,
        "cold_starts": 0,
        "peak_queue_depth": 0,
        "drain_seconds": 0.25,
    }
    expected = {
        "schema_version": 1,
        "scenario": "flash-sale",
        "seed": 42,
        "verdict": "invalid",
        "engine": {
            "mode": "process",
            "emulator": "localstack",
            "emulator_version": "4.9.2",
            "postgres_version": "16.14",
            "max_connections": 20,
        },
        "architectures": {
            "sync": {
                "verdict": "invalid",
                "ledger": ledger,
                "examples": {"lost": ["o-1"]},
                "latency_ms": {"p50": 1.5, "p95": 2, "p99": 3, "p999": 4, "max": 5},
                "resources": resources,
                "faults": {"armed": 2, "fired": 40},
                "expectations": [{"claim": "no order is lost", "holds": False, "observed": "1 of 3"}],
            }
        },
    }
    document = run_verdict().to_json()
    assert document == expected
    assert json.dumps(document) == json.dumps(expected)


def test_the_document_is_read_back_as_it_was() -> None:
    """Writing what was read gives the same document."""
    document = json.loads(json.dumps(run_verdict().to_json()))
    again = RunVerdict.from_json(document)
    assert again.to_json() == document
    assert again.verdict is INVALID
    assert again.architectures["sync"].facts.ledger == run_verdict().architectures["sync"].facts.ledger


def without_ledger(document: dict[str, Any]) -> None:
    del document["architectures"]["sync"]["ledger"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=2), "schema_version 2, this testbed reads 1"),
        (lambda d: d.pop("schema_version"), "schema_version None"),
        (lambda d: d.pop("seed"), "damaged: KeyError: 'seed'"),
        (lambda d: d["engine"].update(new=1), "damaged: TypeError"),
        (lambda d: d.update(architectures=[]), "damaged: AttributeError"),
        (without_ledger, "damaged: KeyError: 'ledger'"),
    ],
)
def test_a_document_of_another_shape_is_refused(change: Any, message: str) -> None:
    """Nothing is guessed from a document of another version, or from a part of one."""
    document = run_verdict().to_json()
    change(document)
    with pytest.raises(UsageError, match=message):
        RunVerdict.from_json(document)


def test_an_anomaly_without_examples_is_not_named() -> None:
    """The names under ``examples`` are what was found."""
    verdict = ArchitectureVerdict(Facts(ledger=Ledger(lost=1, examples={"lost": ("o-1",), "ghost": ()})), ())
    assert verdict.to_json()["examples"] == {"lost": ["o-1"]}
