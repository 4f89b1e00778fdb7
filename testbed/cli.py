"""The command line: ``testbed run | list | replay | report | up | doctor | search``."""

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from testbed.engine_option import ENGINES, VARIABLE, default_engine
from testbed.errors import EXIT_HARNESS, EXIT_UNKNOWN, EXIT_USAGE, EXIT_VALID, TestbedError, UsageError

if TYPE_CHECKING:  # imported where they are used: `testbed --help` should not take as long as a run's start
    from testbed.ledger.verdict import RunVerdict
    from testbed.report.folder import Verdict
    from testbed.run_folder import RunFolder, RunOptions
    from testbed.running import RunningTestbed
    from testbed.standing import Standing

_RUNS: Final = Path("runs")
_UP_PORT: Final = 4566
_SEARCH_RUNS: Final = 20
_PORTS: Final = range(1, 65536)
_DESCRIPTION: Final = """\
Finds out what happens to your data when a serverless architecture is overloaded or breaks.
Everything runs on this machine: no AWS account, and no need for Docker."""
_EPILOG: Final = """\
exit codes: 0 valid, 1 invalid, 2 unknown (also when interrupted), 64 wrong usage, 70 the testbed failed

  testbed run flash-sale                     run a scenario, with a new seed
  testbed run ./mine.py --architecture sync  run your own, one architecture of it
  testbed replay runs/latest                 the same run once more
  testbed search ./mine.py --runs 50         look for faults that break it"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    try:
        arguments = _parser().parse_args(argv)
        code = arguments.command(arguments)
        sys.stdout.flush()
    except (TestbedError, KeyboardInterrupt) as error:
        code = _explain(error)
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_UNKNOWN
    except Exception:  # noqa: BLE001 - Python would exit with 1, which says that the data went wrong
        traceback.print_exc()
        _say("testbed: this is a defect of the testbed itself; please report it with the lines above")
        code = EXIT_HARNESS
    sys.exit(code)


def _explain(error: TestbedError | KeyboardInterrupt) -> int:
    """Say what happened, the end of the log where there is one, and what to do next; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        _say("testbed: interrupted; everything that it started is stopped")
        return EXIT_UNKNOWN
    _say(f"testbed: {error.message}")
    if error.log_tail:
        _say("the end of its log:")
        _say("\n".join(f"  | {line}" for line in error.log_tail.splitlines()))
    if error.hint:
        _say(f"  hint: {error.hint}")
    return error.exit_code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        _say(f"{self.prog}: {message}\n  hint: {self.prog} --help")
        sys.exit(EXIT_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="testbed",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, act: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=_sentence(summary), allow_abbrev=False)
        added.set_defaults(command=act)
        return added

    run = command("run", _run, "run a scenario and judge what became of every request")
    run.add_argument("scenario", metavar="SCENARIO|PATH.py", help="a name that `testbed list` shows, or your own file")
    run.add_argument("--seed", type=_seed, metavar="N", help="seed of everything random; a new one unless given")
    run.add_argument("--architecture", action="append", default=[], metavar="A", help="only this one; may be repeated")
    _add_engine_option(run)
    run.add_argument(
        "--scale", type=_positive, default=1.0, metavar="F", help="the same rates for F times as long (default 1)"
    )
    run.add_argument("--no-chaos", action="store_true", help="leave out faults and poison")
    _add_standing_options(run)
    _add_output_options(run)

    command("list", _list, "list the scenarios and their architectures")

    replay = command("replay", _replay, "run again as an earlier run, and hit exactly what its faults hit")
    replay.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="its run folder, for example runs/latest")
    _add_standing_options(replay)
    _add_output_options(replay)

    report = command("report", _report, "write report.html of a run folder anew")
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="for example runs/latest")

    up = command("up", _up, "keep the testbed running, with a scenario deployed if you name one")
    up.add_argument("scenario", nargs="?", metavar="SCENARIO|PATH.py", help="deploy this; nothing unless given")
    up.add_argument(
        "--port", type=_port, default=_UP_PORT, metavar="N", help=f"port of the endpoint (default {_UP_PORT})"
    )
    _add_engine_option(up)
    up.add_argument("--max-connections", type=int, metavar="N", help="of Postgres (default: the scenario's, else 20)")

    command("doctor", _doctor, "what was found, what will be used, what is missing and how to get it")

    search = command("search", _search, "look for faults that break an expectation, and shrink them to a test")
    search.add_argument(
        "scenario", metavar="SCENARIO|PATH.py", help="a name that `testbed list` shows, or your own file"
    )
    search.add_argument(
        "--runs", type=_count, default=_SEARCH_RUNS, metavar="N",
        help=f"schedules to try with each architecture (default {_SEARCH_RUNS})",
    )  # fmt: skip
    search.add_argument("--seed", type=_seed, metavar="S", help="seed of everything random; a new one unless given")
    search.add_argument(
        "--architecture", action="append", default=[], metavar="A", help="only this one; may be repeated"
    )
    search.add_argument(
        "--fault", action="append", default=[], metavar="KIND", help="only faults of this kind; may be repeated"
    )
    _add_engine_option(search)
    search.add_argument(
        "--scale", type=_positive, default=1.0, metavar="F", help="traffic for F times as long at most (default 1)"
    )
    search.add_argument("--out", type=Path, default=_RUNS, metavar="DIR", help="folder for run folders (default: runs)")
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _add_engine_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help=f"containers or child processes; auto: containers where Docker has the images (default: {VARIABLE}, "
        "else auto)",
    )


def _add_standing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint", metavar="URL", help="use the testbed that `testbed up` or docker compose keeps there"
    )
    parser.add_argument("--dsn", metavar="DSN", help="its Postgres, as superuser (default: the variable TESTBED_DSN)")


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=_RUNS, metavar="DIR", help="folder for run folders (default: runs)")
    parser.add_argument("--keep", action="store_true", help="keep the testbed running after the run, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print verdict.json, and nothing else, on stdout")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs: 1 or more")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) not in _PORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: {_PORTS[0]} to {_PORTS[-1]}")
    return int(text)


def _run(arguments: argparse.Namespace) -> int:
    from testbed.catalog import found_again  # noqa: PLC0415 - heavy, see _execute
    from testbed.run_folder import RunOptions  # noqa: PLC0415 - the same

    generated = arguments.seed is None
    options = RunOptions(
        scenario=found_again(arguments.scenario),
        seed=secrets.randbelow(2**31) if generated else arguments.seed,
        seed_from="generated" if generated else "cli",
        architectures=tuple(arguments.architecture),
        engine=arguments.engine or ("auto" if arguments.endpoint else default_engine()),
        scale=arguments.scale,
        no_chaos=arguments.no_chaos,
        endpoint=arguments.endpoint,
    )
    return _execute(arguments, options)


def _replay(arguments: argparse.Namespace) -> int:
    from testbed.run_folder import read_options  # noqa: PLC0415 - heavy, see _execute

    options = replace(read_options(arguments.run_dir), replay_of=str(arguments.run_dir.resolve()))
    if arguments.endpoint:
        options = replace(options, endpoint=arguments.endpoint, engine="auto")
    return _execute(arguments, options)


def _execute(arguments: argparse.Namespace, options: "RunOptions") -> int:
    """Run and print; the imports wait until they are needed, for a quick ``--help``."""
    from testbed.catalog import load_scenario, prepared  # noqa: PLC0415 - see above

    standing = _standing(options, arguments.dsn)
    scenario = prepared(load_scenario(options.scenario), options)

    from testbed.report.console import LiveLine  # noqa: PLC0415 - see above
    from testbed.run_folder import RunFolder  # noqa: PLC0415 - see above
    from testbed.runner import run_scenario  # noqa: PLC0415 - see above

    folder = RunFolder(arguments.out, scenario.name, options.seed)
    with ExitStack() as showing:
        live = showing.enter_context(LiveLine(scenario.name))

        async def keep(bed: "RunningTestbed", verdict: "RunVerdict") -> None:
            showing.close()
            _show_verdict(verdict, folder, options, as_json=arguments.json)
            await _stay(bed)

        work = run_scenario(
            scenario, options, folder, live.update, _say, keep=keep if arguments.keep else None, standing=standing
        )
        try:
            verdict: RunVerdict = _until_interrupted(work)
        except (TestbedError, KeyboardInterrupt) as error:
            showing.close()
            return _broken_off(error, folder, options, as_json=arguments.json)
    if not arguments.keep:
        _show_verdict(verdict, folder, options, as_json=arguments.json)
    return int(verdict.verdict.exit_code)


def _standing(options: "RunOptions", dsn: str | None) -> "Standing | None":
    """The testbed to run on; None where the run starts its own."""
    from testbed.standing import DEFAULT_TOKEN, Standing  # noqa: PLC0415 - see _execute

    if options.endpoint is None:
        if dsn:
            raise UsageError("--dsn needs --endpoint", "a run without --endpoint has a Postgres of its own")
        return None
    dsn = dsn or os.environ.get("TESTBED_DSN")
    if not dsn:
        raise UsageError(
            f"--dsn is missing: the Postgres of the testbed at {options.endpoint}",
            "`testbed up` prints it; the variable TESTBED_DSN will do too",
        )
    if options.engine != "auto":
        raise UsageError("--engine means nothing with --endpoint: the engine is there already", "leave one of them out")
    return Standing(options.endpoint.rstrip("/"), dsn, os.environ.get("TESTBED_TOKEN") or DEFAULT_TOKEN)


def _show_verdict(verdict: "RunVerdict", folder: "RunFolder", options: "RunOptions", *, as_json: bool) -> None:
    """Print verdict.json, or the tables made of it."""
    from testbed.report.console import Output, print_summary  # noqa: PLC0415 - see _execute

    document: Verdict = cast("Verdict", verdict.to_json())
    if as_json:
        print(json.dumps(document, indent=2), flush=True)
        return
    causes = {
        name: {cause: len(ids) for cause, ids in found.facts.causes.items()}
        for name, found in verdict.architectures.items()
    }
    print_summary(document, causes, folder.path, Output(highlight=False), origin=options.seed_from)


def _broken_off(
    error: TestbedError | KeyboardInterrupt, folder: "RunFolder", options: "RunOptions", *, as_json: bool
) -> int:
    """Say what ended the run early, and where to find what it had recorded; no tables, as most of them is unknown."""
    from testbed.report.wording import replay_line  # noqa: PLC0415 - see _execute

    if isinstance(error, UsageError | KeyboardInterrupt):
        folder.discard_unless_begun()
    code = _explain(error)
    verdict = folder.path / "verdict.json"
    if verdict.exists():
        if as_json:
            print(verdict.read_text(encoding="utf-8"), end="", flush=True)
        _say(f"Report: {folder.path / 'report.html'}")
        _say(replay_line(folder.path, options.seed, options.seed_from))
    return code


async def _stay(bed: "RunningTestbed") -> None:
    """Until Ctrl-C, which is a good end here.

    Raises:
        EngineDiedError: A part died.
    """
    _say(f"kept running until Ctrl-C: endpoint {bed.aws.endpoint_url}, logs {bed.logs}")
    with suppress(asyncio.CancelledError):
        raise await bed.died()


def _list(_: argparse.Namespace) -> int:
    from testbed.catalog import load_scenario, scenario_paths  # noqa: PLC0415 - heavy, see _execute

    for name, path in scenario_paths().items():
        try:
            scenario = load_scenario(str(path))
        except UsageError as error:
            print(f"{name:20} {error.message}")
            continue
        print(f"{name:20} {scenario.summary}")
        for architecture in scenario.architectures:
            print(f"{'':20}   {architecture.name}: {architecture.summary}")
    return EXIT_VALID


def _report(arguments: argparse.Namespace) -> int:
    from testbed.report.html import write_report  # noqa: PLC0415 - heavy, see _execute
    from testbed.run_folder import unwritable  # noqa: PLC0415 - the same

    try:
        print(write_report(arguments.run_dir))
    except OSError as error:
        raise unwritable(error, arguments.run_dir) from error
    return EXIT_VALID


def _up(arguments: argparse.Namespace) -> int:
    from testbed.up import keep_up  # noqa: PLC0415 - heavy, see _execute

    try:
        _until_interrupted(
            keep_up(
                arguments.scenario,
                port=arguments.port,
                engine=arguments.engine or default_engine(),
                max_connections=arguments.max_connections,
                tell=_say,
            )
        )
    except KeyboardInterrupt:
        _say("everything is stopped")
    return EXIT_VALID


def _doctor(_: argparse.Namespace) -> int:
    from testbed.doctor import diagnosis  # noqa: PLC0415 - heavy, see _execute

    lines, usable = diagnosis()
    print("\n".join(lines))
    return EXIT_VALID if usable else EXIT_HARNESS


def _search(arguments: argparse.Namespace) -> int:
    try:
        from testbed.search.command import search  # noqa: PLC0415 - heavy, see _execute
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise UsageError("a search needs Hypothesis, which is not installed", "pip install hypothesis") from error
    return search(arguments, _until_interrupted, _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _until_interrupted(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work``; Ctrl-C and SIGTERM cancel it, so that it can stop what it has started.

    Raises:
        KeyboardInterrupt: It was cancelled.
    """

    async def guarded() -> Any:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, _once(task.cancel))
        return await task

    with suppress(asyncio.CancelledError):
        return asyncio.run(guarded())
    raise KeyboardInterrupt


def _once(act: Callable[[], object]) -> Callable[[], None]:
    """``act`` at the first call only: a second Ctrl-C must not break off the clean-up."""
    done = False

    def first() -> None:
        nonlocal done
        if not done:
            done = True
            act()

    return first
