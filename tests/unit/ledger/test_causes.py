"""Every attempt that was not acknowledged gets one cause."""

import pytest

from testbed.ledger.causes import causes
from testbed.ledger.history import Attempt, Outcome

FULL = {"trace": "1-a", "cause": "throttle"}


def attempt(
    id_: str = "a", *, outcome: Outcome = Outcome.REFUSED, status: int | None = 500, error: str | None = None
) -> Attempt:
    return Attempt(
        architecture="sync",
        id=id_,
        planned=0,
        sent=0,
        finished=1,
        outcome=outcome,
        status=status,
        error=error,
        trace=f"1-{id_}",
    )


@pytest.mark.parametrize(
    ("failed", "hops", "cause"),
    [
        (attempt(error="too_many_connections"), [FULL], "too_many_connections"),
        (attempt(), [FULL], "throttle"),
        (attempt(), [FULL, {"trace": "1-a", "cause": "timeout"}], "timeout"),
        (attempt(), [FULL, {"trace": "1-a", "cause": None}, {"trace": "1-a"}], "throttle"),
        (attempt(), [{"trace": "1-b", "cause": "crash"}, {"cause": "crash"}], "HTTP 500"),
        (attempt(status=None, error="TimeoutError"), [FULL], "throttle"),
        (attempt(status=None, error="TimeoutError"), [], "TimeoutError"),
        (attempt(status=None), [], "no answer"),
    ],
)
def test_the_cause_comes_from_the_one_who_knows_best(
    failed: Attempt, hops: list[dict[str, object]], cause: str
) -> None:
    """The answer's own error, else the last failing hop of the trace, else what the client saw."""
    assert causes([failed], hops) == {cause: {"a"}}


def test_acknowledged_attempts_have_no_cause() -> None:
    """A hop that failed and was retried with success refused nobody."""
    assert causes([attempt(outcome=Outcome.ACKNOWLEDGED, status=200)], [FULL]) == {}


def test_causes_of_one_readable_name_are_counted_together() -> None:
    """Raw causes can be given the names that people use."""
    history = [attempt("a", error="53300"), attempt("b", error="too many clients"), attempt("c", status=413)]
    readable = {"53300": "connection limit", "too many clients": "connection limit", "HTTP 413": "too large"}
    assert causes(history, [], readable) == {"connection limit": {"a", "b"}, "too large": {"c"}}
