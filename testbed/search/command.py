"""``testbed search``: what it says, and what it ends with."""

import argparse
import secrets
import shutil
from collections.abc import Callable, Coroutine
from typing import Any, Final

from testbed.catalog import found_again, load_scenario
from testbed.chaos.fault import Fault
from testbed.engine import check_max_connections
from testbed.engine_option import default_engine
from testbed.errors import EXIT_UNKNOWN, TestbedError, UsageError
from testbed.ledger.verdict import Verdict, combine
from testbed.report.console import LiveLine
from testbed.report.wording import replay_line
from testbed.run_folder import RunFolder, RunOptions
from testbed.running import running_testbed
from testbed.search.session import Session
from testbed.strategies import KINDS

_PATIENCE: Final = 60.0
"""Seconds between two lines of one try, where the output is no terminal."""
Say = Callable[[str], None]
Until = Callable[[Coroutine[Any, Any, Any]], Any]


def search(arguments: argparse.Namespace, until_interrupted: Until, say: Say) -> int:
    """Search on one architecture after the other; the tests that reproduce what was found go to stdout.

    Args:
        arguments: ``scenario``, ``runs``, ``seed``, ``architecture``, ``engine``, ``scale``, ``fault``, ``out``.
        until_interrupted: Runs a coroutine until Ctrl-C.
        say: Takes lines for people.

    Raises:
        TestbedError: As a run.
        KeyboardInterrupt: It was interrupted, and had found nothing.
    """
    kinds = _kinds(arguments.fault)
    options = RunOptions(
        scenario=found_again(arguments.scenario),
        seed=secrets.randbelow(2**31) if arguments.seed is None else arguments.seed,
        seed_from="generated" if arguments.seed is None else "cli",
        engine=arguments.engine or default_engine(),
        scale=arguments.scale,
    )
    scenario = load_scenario(options.scenario).only(arguments.architecture)
    check_max_connections(scenario.database.max_connections)
    scenario.planned(options.seed)  # a mistake in its order() is told before anything starts
    verdicts = []
    for architecture in scenario.architectures:
        session = Session(
            scenario=scenario.only([architecture.name]),
            options=options,
            folder=RunFolder(arguments.out, scenario.name, options.seed),
            runs=arguments.runs,
            kinds=kinds,
            show=lambda _: None,
            tell=say,
        )
        try:
            verdicts.append(_searched(session, until_interrupted))
        except (KeyboardInterrupt, TestbedError) as error:
            if session.hunt.best is None:
                raise
            _print(session)
            say(f"testbed: the search was broken off; the smallest find so far is in {session.test}")
            if isinstance(error, TestbedError):
                raise
            return EXIT_UNKNOWN
        finally:
            if not session.test.exists():
                shutil.rmtree(session.folder.path, ignore_errors=True)
        _report(session, verdicts[-1], say)
    return int(combine(verdicts).exit_code)


def _searched(session: Session, until_interrupted: Until) -> Verdict:
    with LiveLine(session.scenario.name, every=_PATIENCE) as live:
        session.show = live.update
        found: Verdict = until_interrupted(_on_a_testbed(session))
        return found


async def _on_a_testbed(session: Session) -> Verdict:
    async with running_testbed(
        max_connections=session.scenario.database.max_connections,
        logs=session.folder.logs,
        progress=session.tell,
        engine=session.options.engine,
    ) as bed:
        return await session.search(bed)


def _kinds(names: list[str]) -> list[type[Fault]]:
    known = {kind.__name__: kind for kind in KINDS}
    for name in names:
        if name not in known:
            raise UsageError(f"a search knows no fault {name!r}", f"there are {', '.join(sorted(known))}")
    return [known[name] for name in names]


def _print(session: Session) -> None:
    print(session.test.read_text(encoding="utf-8"), flush=True)  # noqa: T201 - the command's answer


def _report(session: Session, verdict: Verdict, say: Say) -> None:
    hunt, name, seed = session.hunt, session.architecture, session.options.seed
    kept = "1 schedule" if hunt.good == 1 else f"{hunt.good} schedules"
    tried = f"{kept} kept every expectation, {hunt.unknown} ended unknown"
    if verdict == Verdict.INVALID and hunt.best:
        _print(session)
        first, last = hunt.best.tries
        if hunt.best.candidate.faults:
            say(f"{name}: found at try {first}, smallest at try {last}, {hunt.tries} tries in all")
        else:
            say(f"{name}: breaks an expectation without any fault")
        if hunt.spent:
            say(f"  there may be a smaller one: the search for it ended after {hunt.patience} tries")
        for claim in hunt.best.outcome.claims:
            say(f"  ✗ {claim.claim}: {claim.observed}")
        say(f"Test: {session.test}\nReport: {session.folder.path / 'report.html'}")
        say(replay_line(session.folder.path, seed, session.options.seed_from))
    elif hunt.best:
        say(f"{name}: breaks at times: what was found did not break it once more, deployed anew: {session.test}")
    elif session.calm.verdict == Verdict.UNKNOWN:
        say(f"{name}: nothing can be said, not even without faults:")
        for claim in session.calm.claims:
            say(f"  ? {claim.claim}: {claim.observed}")
    else:
        say(f"{name}: nothing found with seed {seed}; {tried}")
    for flaky in hunt.flaky:
        broken = "; ".join(f"{claim.claim}: {claim.observed}" for claim in flaky.outcome.claims)
        say(f"{name}: broke once and not again under {list(flaky.candidate.faults)}: {broken}")
