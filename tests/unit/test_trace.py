"""Trace headers tie every hop to its order, and tell when the order was planned."""

import re
import time

import pytest

from testbed.trace import fresh_trace_header, parse_trace, trace_header

TRACE = "1-000003e8-0000000000000000000000aa"
FORMAT = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}")


def test_the_header_is_the_same_in_every_run() -> None:
    """A function of the order's id and its planned time: nothing random, no clock."""
    assert trace_header("order-1", 1.5) == trace_header("order-1", 1.5)
    assert FORMAT.fullmatch(trace_header("order-1", 1.5))
    assert trace_header("order-2", 1.5) != trace_header("order-1", 1.5)


@pytest.mark.parametrize("planned", [0.0, 0.001, 1.5, 59.999, 86_400.0])
def test_the_planned_time_comes_back(planned: float) -> None:
    """To the millisecond, for runs of days."""
    trace, seconds = parse_trace(trace_header("order-1", planned)) or ("", None)
    assert seconds == pytest.approx(planned, abs=0.0005)
    assert f"Root={trace}" == trace_header("order-1", planned)


def test_a_fresh_header_has_no_planned_time() -> None:
    """Where it has the epoch time, as X-Ray has it, and it is another one each time."""
    header = fresh_trace_header()
    assert FORMAT.fullmatch(header)
    assert int(header[7:15], 16) == pytest.approx(time.time(), abs=5)
    trace, planned = parse_trace(header) or ("", 0.0)
    assert (f"Root={trace}", planned) == (header, None)
    assert fresh_trace_header() != header


@pytest.mark.parametrize(
    "header",
    [
        f"Root={TRACE}",
        f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1",
        f"Self=1-63441c4a-abcdef012345678912345678;Root={TRACE}",
        f"Sampled=0; Root={TRACE};Lineage=a:0",
        f"Root%3D{TRACE}%3BSampled%3D1",
    ],
)
def test_the_root_is_found_wherever_it_stands(header: str) -> None:
    """Load balancers put Self in front, Lambda puts Parent and Lineage behind, botocore percent-encodes."""
    assert parse_trace(header) == (TRACE, 1.0)


@pytest.mark.parametrize(
    "header", [None, "", "Root=", "Root=1-xyz-1", f"Notroot={TRACE}", f"Root=2{TRACE[1:]}", "Self=1"]
)
def test_what_is_no_trace_is_none(header: str | None) -> None:
    """A header that says something else is left alone."""
    assert parse_trace(header) is None
