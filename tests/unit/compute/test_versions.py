"""Versions and aliases: which code an invoke runs, and which environments it finds."""

import asyncio
import json
from collections import Counter

import pytest
from deployed import Emulator, Journal, StartCompute, until

from testbed.compute.invoke import Compute
from testbed.semantics.async_invoke import AsyncInvokeProfile
from testbed.semantics.concurrency import Limits
from testbed.trace import trace_header

VERSIONED = "import os\ndef handler(event, context): return [{version}, os.getpid(), context.invoked_function_arn]"


def deploy_two_versions(emulator: Emulator) -> None:
    """``orders`` with versions 1 and 2, each of which tells its number."""
    emulator.deploy("orders", VERSIONED.format(version=0))
    emulator.publish("orders", "1", VERSIONED.format(version=1))
    emulator.publish("orders", "2", VERSIONED.format(version=2))


async def run(compute: Compute, qualifier: str | None, *, identity: str = "order-1") -> tuple[int, int, str, str]:
    """Number of the version and process that answered, the ARN that the handler saw, and the executed version."""
    result = await compute.invoke("orders", b"{}", caller="client", qualifier=qualifier, identity=identity)
    assert result.cause is None, result
    version, pid, arn = json.loads(result.payload)
    return version, pid, arn, result.executed_version


@pytest.mark.rule("versions.alias")
async def test_an_alias_runs_its_version_and_says_so(emulator: Emulator, compute: Compute, journal: Journal) -> None:
    """The handler sees the ARN that was invoked, the caller the number of the version that ran."""
    deploy_two_versions(emulator)
    emulator.aliases["orders:live"] = {"FunctionVersion": "1"}
    version, pid, arn, executed = await run(compute, "live")
    assert (version, executed) == (1, "1")
    assert arn.endswith(":function:orders:live")
    assert (await run(compute, "1"))[:2] == (1, pid)
    assert (await run(compute, None))[0] == 0
    assert [hop["version"] for hop in journal.hops] == ["1", "1", "$LATEST"]


@pytest.mark.rule("versions.alias")
async def test_a_moved_alias_counts_from_its_announcement(emulator: Emulator, compute: Compute) -> None:
    """It is read once; environments of the version that it stood for stay warm."""
    deploy_two_versions(emulator)
    emulator.aliases["orders:live"] = {"FunctionVersion": "1"}
    _, pid, _, _ = await run(compute, "live")
    emulator.aliases["orders:live"] = {"FunctionVersion": "2"}
    assert (await run(compute, "live"))[0] == 1
    compute.invalidate("orders", "UpdateAlias")
    assert (await run(compute, "live"))[0] == 2
    assert (await run(compute, "1"))[:2] == (1, pid)
    assert emulator.calls.count("GetAlias orders") == 2


@pytest.mark.rule("versions.weighted-alias")
async def test_a_weighted_alias_divides_invokes_the_same_way_in_every_run(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """What an invoke gets follows from its identity; about a third of many gets the second version."""
    deploy_two_versions(emulator)
    emulator.aliases["orders:live"] = {
        "FunctionVersion": "1",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.33}},
    }
    runs = []
    for _ in range(2):
        compute = await start_compute()
        runs.append([(await run(compute, "live", identity=f"order-{n}"))[0] for n in range(100)])
    assert runs[0] == runs[1]
    assert 20 <= Counter(runs[0])[2] <= 46
    assert {(await run(compute, "live"))[0] for _ in range(20)} == {1, 2}  # each retry is drawn anew


@pytest.mark.rule("versions.reserved-over-all")
async def test_versions_share_the_reservation_and_not_the_environments(
    emulator: Emulator, compute: Compute, journal: Journal
) -> None:
    """Two versions with one reserved: while one runs the other is throttled, and each has its own process."""
    deploy_two_versions(emulator)
    emulator.publish("orders", "1", "import time\ndef handler(event, context): time.sleep(0.5)")
    emulator.reserved["orders"] = 1
    running = asyncio.create_task(compute.invoke("orders", b"{}", caller="client", qualifier="1"))
    await until(lambda: compute.stats().concurrency)
    refused = await compute.invoke("orders", b"{}", caller="client", qualifier="2")
    assert refused.status == 429
    assert (await running).status == 200
    assert (await run(compute, "2"))[0] == 2
    assert [hop["cold"] for hop in journal.hops if hop["status"] == 200] == [True, True]


async def test_an_alias_that_is_not_there_is_not_found(emulator: Emulator, compute: Compute) -> None:
    """The error names the ARN with the alias; a version that is gone is not found either."""
    emulator.deploy("orders", VERSIONED.format(version=0))
    emulator.aliases["orders:live"] = {"FunctionVersion": "7"}
    result = await compute.invoke("orders", b"{}", caller="client", qualifier="live")
    assert result.error
    assert result.error.message == "Function not found: arn:aws:lambda:us-east-1:000000000000:function:orders:live"


async def test_an_update_of_the_function_leaves_published_versions_warm(emulator: Emulator, compute: Compute) -> None:
    """New code of $LATEST ends its own environments alone; a deleted function has none."""
    deploy_two_versions(emulator)
    _, pid, _, _ = await run(compute, "1")
    _, old, _, _ = await run(compute, None)
    emulator.deploy("orders", VERSIONED.format(version=5))
    compute.invalidate("orders", "UpdateFunctionCode")
    assert (await run(compute, None))[0] == 5
    assert (await run(compute, "1"))[1] == pid
    await until(lambda: old not in compute._processes.pids.values())
    compute.invalidate("orders", "DeleteFunction")
    await until(lambda: not compute._processes.pids)


@pytest.mark.rule("concurrency.scaling-rate", "concurrency.cold-starts-only", "throttle.reasons")
async def test_cold_starts_beyond_the_scaling_rate_are_throttled(
    emulator: Emulator, start_compute: StartCompute, journal: Journal
) -> None:
    """Two environments may start: of three invokes at once one is refused for its rate; a warm one is not."""
    compute = await start_compute(concurrency=Limits(scaling_burst=2, scaling_per_second=0))
    emulator.deploy("orders", "import time\ndef handler(event, context): time.sleep(0.3)")
    results = await asyncio.gather(*(compute.invoke("orders", b"{}", caller="client") for _ in range(3)))
    assert sorted(result.status for result in results) == [200, 200, 429]
    assert {hop["reason"] for hop in journal.hops} == {None, "FunctionInvocationRateLimitExceeded"}
    assert (await compute.invoke("orders", b"{}", caller="client")).status == 200


@pytest.mark.rule("concurrency.async-acceptance")
async def test_asynchronous_invokes_are_accepted_while_the_function_is_throttled(
    emulator: Emulator, start_compute: StartCompute
) -> None:
    """Eight are accepted at once though one may run; all of them run in the end."""
    compute = await start_compute(asynchronous=AsyncInvokeProfile().compress(1000))
    emulator.deploy("orders", "def handler(event, context): return 1")
    emulator.reserved["orders"] = 1
    trace = trace_header("order-1", 0.0)
    accepted = [
        await compute.invoke("orders", b"{}", caller="client", invocation_type="Event", trace=trace) for _ in range(8)
    ]
    assert {result.status for result in accepted} == {202}
    await until(lambda: not compute.stats().queued_events)
    assert compute.stats().invokes == 8
    assert compute.stats().peak_concurrency == {"orders": 1}
