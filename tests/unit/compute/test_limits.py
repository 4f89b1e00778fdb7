"""Lambda's limits on real processes: the account's concurrency, request rates, and what an invoke is billed."""

import asyncio
import json
import math
import re
from collections import Counter

import pytest
from deployed import Emulator, Journal, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.semantics.concurrency import Limits
from testbed.semantics.lifecycle import LifecycleProfile
from testbed.semantics.provisioned import ProvisionedProfile

SLEEPER = "import time\ndef handler(event, context): time.sleep(event)"


async def reasons(compute: Compute, *functions: str, seconds: float = 0.0) -> list[str | None]:
    """Why each of these invokes, all at once, was throttled; None for those that ran."""
    payload = json.dumps(seconds).encode()
    results = await asyncio.gather(*(compute.invoke(name, payload, caller="client") for name in functions))
    return [str(result.error.members["Reason"]) if result.error else None for result in results]


@pytest.mark.rule("concurrency.account", "concurrency.unreserved-pool", "throttle.reasons", "throttle.shape")
async def test_functions_share_what_the_account_has_unreserved(emulator: Emulator, start_compute: StartCompute) -> None:
    """Of three, one is reserved: the two others are used up by the second and the third invoke."""
    compute = await start_compute(concurrency=Limits(account_concurrency=3))
    for name in ("orders", "invoices", "reserved"):
        emulator.deploy(name, SLEEPER)
    emulator.reserved["reserved"] = 1
    for name in ("orders", "invoices", "reserved"):
        assert await reasons(compute, name) == [None]
    found = await reasons(compute, "reserved", "orders", "invoices", "orders", seconds=1.0)
    assert found[0] is None
    assert Counter(found[1:]) == {None: 2, "ConcurrentInvocationLimitExceeded": 1}
    assert await reasons(compute, "orders") == [None]
    assert compute.stats().throttles == 1


@pytest.mark.rule("concurrency.request-rate", "throttle.reasons")
@pytest.mark.parametrize(
    ("reserved", "reason"),
    [(None, "FunctionInvocationRateLimitExceeded"), (10, "ReservedFunctionInvocationRateLimitExceeded")],
)
async def test_more_requests_than_the_concurrency_allows_in_a_second_are_throttled(
    emulator: Emulator, start_compute: StartCompute, reserved: int | None, reason: str
) -> None:
    """A tenth of a request a second for each unit, here: one for ten units, whatever else would run."""
    account = 10 if reserved is None else 1000
    compute = await start_compute(concurrency=Limits(account_concurrency=account, requests_per_concurrency=0.1))
    emulator.deploy("orders", SLEEPER)
    if reserved:
        emulator.reserved["orders"] = reserved
    assert set(await reasons(compute, "orders", "orders")) == {None, reason}


@pytest.mark.rule("environment.init-is-billed")
async def test_a_cold_invoke_is_billed_with_its_initialisation(
    emulator: Emulator, compute: Compute, journal: Journal
) -> None:
    """In the log and in the journal; a warm one is billed by its duration alone, in whole milliseconds."""
    emulator.deploy("orders", "import time\ntime.sleep(0.05)\ndef handler(event, context): pass")
    cold, warm = [(await compute.invoke("orders", b"{}", caller="client")).log_tail.decode() for _ in range(2)]
    for report, hop in zip((cold, warm), journal.hops, strict=True):
        init = re.search(r"\tInit Duration: ([\d.]+) ms", report)
        assert bool(init) is (report is cold)
        spent = hop["duration"] + (float(init[1]) if init else 0.0)
        assert hop["billed"] == pytest.approx(math.ceil(spent), abs=1)  # of numbers that are rounded themselves
        assert f"\tBilled Duration: {hop['billed']} ms" in report
    assert journal.hops[0]["billed"] >= 50


@pytest.mark.rule("environment.provisioned-init", "provisioned.no-scaling-rate")
async def test_provisioned_environments_have_longer_to_start_and_need_no_scaling_rate(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Initialisation takes longer than on demand it may, and on demand nothing may start at all."""
    compute = await start_compute(
        concurrency=Limits(scaling_burst=0, scaling_per_second=0),
        lifecycle=LifecycleProfile(init_seconds=0.05, provisioned_init_seconds=20),
        provisioned=ProvisionedProfile(allocation_delay=0.05, allocation_per_minute=60_000),
    )
    source = "import time\ntime.sleep(0.5)\ndef handler(event, context): return 1"
    emulator.deploy("orders", source)
    emulator.publish("orders", "1", source)
    emulator.provisioned["orders"] = {"1": 1}
    compute.invalidate("orders", "PutProvisionedConcurrencyConfig")
    await until(lambda: compute.provisioned("orders").get("1", {}).get("status") == "READY")
    provisioned = await compute.invoke("orders", b"{}", caller="client", qualifier="1")
    assert (provisioned.status, provisioned.payload) == (200, b"1")
    assert await reasons(compute, "orders") == ["FunctionInvocationRateLimitExceeded"]
