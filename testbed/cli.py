"""The command line: ``testbed run | list | replay | report | up | doctor``."""

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console

from testbed.errors import EXIT_UNKNOWN, EXIT_USAGE, EngineDiedError, TestbedError, UsageError

_RUNS: Final = Path("runs")
_UP_PORT: Final = 4566


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.command(arguments)
    except TestbedError as error:
        _explain(error)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted: everything is stopped, what was recorded is kept", file=sys.stderr)
        code = EXIT_UNKNOWN
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_UNKNOWN
    sys.exit(code)


def _explain(error: TestbedError) -> None:
    print(f"testbed: {error.message}", file=sys.stderr)
    if isinstance(error, EngineDiedError) and error.log_tail:
        print("the end of its log:\n" + error.log_tail, file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(EXIT_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="testbed", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="run a scenario and judge what became of every request")
    run.add_argument("scenario", metavar="SCENARIO|PATH.py")
    run.add_argument("--seed", type=int, help="seed of everything random; generated unless given")
    run.add_argument("--architecture", action="append", default=[], metavar="A", help="only this one; may be repeated")
    run.add_argument("--engine", choices=("auto", "process", "container"), default="auto")
    run.add_argument("--scale", type=_positive, default=1.0, metavar="F", help="the same rates for F times as long")
    run.add_argument("--no-chaos", action="store_true", help="leave out faults and poison")
    _add_output_options(run)
    run.set_defaults(command=_run)

    commands.add_parser("list", help="list the scenarios").set_defaults(command=_list)

    replay = commands.add_parser("replay", help="run again with the seed and the options of an earlier run")
    replay.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    _add_output_options(replay)
    replay.set_defaults(command=_replay)

    report = commands.add_parser("report", help="write report.html of a run folder anew")
    report.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    report.set_defaults(command=_report)

    up = commands.add_parser("up", help="keep the testbed running, with a scenario deployed if you name one")
    up.add_argument("scenario", nargs="?", metavar="SCENARIO|PATH.py")
    up.add_argument("--port", type=int, default=_UP_PORT, help=f"port of the endpoint (default {_UP_PORT})")
    up.add_argument("--max-connections", type=int, help="of Postgres (default: the scenario's, else 20)")
    up.set_defaults(command=_up)

    commands.add_parser("doctor", help="what was found, what will be used, what is missing").set_defaults(
        command=_doctor
    )
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=_RUNS, metavar="DIR", help="folder for run folders (default: runs)")
    parser.add_argument("--keep", action="store_true", help="keep the testbed running after the run, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print verdict.json, and nothing else, on stdout")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _run(arguments: argparse.Namespace) -> int:
    from testbed.run_folder import RunOptions  # noqa: PLC0415 - heavy, see _execute

    generated = arguments.seed is None
    options = RunOptions(
        scenario=arguments.scenario,
        seed=secrets.randbelow(2**31) if generated else arguments.seed,
        seed_from="generated" if generated else "cli",
        architectures=tuple(arguments.architecture),
        engine=arguments.engine,
        scale=arguments.scale,
        no_chaos=arguments.no_chaos,
    )
    return _execute(arguments, options)


def _replay(arguments: argparse.Namespace) -> int:
    from testbed.run_folder import read_options  # noqa: PLC0415 - heavy, see _execute

    return _execute(arguments, read_options(arguments.run_dir))


def _execute(arguments: argparse.Namespace, options: Any) -> int:
    """Run, write everything into the run folder, print; the imports wait until they are needed, for a quick --help."""
    from testbed.catalog import load_scenario  # noqa: PLC0415 - see above
    from testbed.report.console import LiveLine, print_summary  # noqa: PLC0415 - see above
    from testbed.report.html import write_report  # noqa: PLC0415 - see above
    from testbed.report.junit import write_junit  # noqa: PLC0415 - see above
    from testbed.run_folder import RunFolder  # noqa: PLC0415 - see above
    from testbed.runner import prepared, run_scenario  # noqa: PLC0415 - see above

    _check_engine(options.engine)
    scenario = prepared(load_scenario(options.scenario), options)
    folder = RunFolder(arguments.out, scenario.name, options.seed)
    with LiveLine(scenario.name) as live:
        verdict = _until_interrupted(run_scenario(scenario, options, folder, live.update, _say, keep=arguments.keep))
    document = verdict.to_json()
    folder.write_json("verdict.json", document)
    write_report(folder.path)
    write_junit(folder.path)
    if arguments.json:
        print(json.dumps(document, indent=2))
        return int(verdict.verdict.exit_code)
    counts = {
        name: {cause: len(ids) for cause, ids in found.facts.causes.items()}
        for name, found in verdict.architectures.items()
    }
    print_summary(document, counts, folder.path, Console(highlight=False), origin=options.seed_from)
    return int(verdict.verdict.exit_code)


def _check_engine(engine: str) -> None:
    if engine == "container":
        raise UsageError("the container engine is not part of this version", "leave --engine out, or use process")


def _list(_: argparse.Namespace) -> int:
    from testbed.catalog import load_scenario, scenario_paths  # noqa: PLC0415 - heavy, see _execute

    for name, path in scenario_paths().items():
        scenario = load_scenario(str(path))
        print(f"{name:20} {scenario.summary}")
        for architecture in scenario.architectures:
            print(f"{'':20}   {architecture.name}: {architecture.summary}")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from testbed.report.html import write_report  # noqa: PLC0415 - heavy, see _execute

    print(write_report(arguments.run_dir))
    return 0


def _up(arguments: argparse.Namespace) -> int:
    from testbed.up import keep_up  # noqa: PLC0415 - heavy, see _execute

    _until_interrupted(
        keep_up(arguments.scenario, port=arguments.port, max_connections=arguments.max_connections, tell=_say)
    )
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from testbed.up import diagnosis  # noqa: PLC0415 - heavy, see _execute

    lines, usable = diagnosis()
    print("\n".join(lines))
    return 0 if usable else EngineDiedError.exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _until_interrupted(work: Coroutine[Any, Any, Any]) -> Any:
    """Run ``work``; Ctrl-C and SIGTERM cancel it, so that it can stop what it has started."""

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
