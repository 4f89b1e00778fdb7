"""The command line: what it takes, what it says, and what it ends with."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import cli, doctor
from testbed.engine import EngineFacts
from testbed.engine.facts import ContainerFacts
from testbed.engine.images import Images
from testbed.errors import EngineDiedError, HarnessError, UsageError, how_ended


class Ended(dict[str, Any]):
    """``code``, ``out`` and ``err`` of a command that ran in this process."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def ended(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        captured = capsys.readouterr()
        return Ended(code=caught.value.code, out=captured.out, err=captured.err)

    return ended


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "required: SCENARIO|PATH.py"),
        (["run", "x", "--scale", "0"], "'0' is not a positive number"),
        (["run", "x", "--scale", "nan"], "'nan' is not a positive number"),
        (["run", "x", "--scale", "much"], "'much' is not a positive number"),
        (["run", "x", "--seed", "1.5"], "'1.5' is not a whole number"),
        (["run", "x", "--engine", "cloud"], "invalid choice: 'cloud'"),
        (["run", "x", "--sed", "1"], "unrecognized arguments: --sed"),
        (["search", "x", "--runs", "0"], "'0' is not a number of runs: 1 or more"),
        (["up", "--port", "70000"], "'70000' is not a port: 1 to 65535"),
        (["up", "--port", "http"], "'http' is not a port"),
    ],
)
def test_wrong_options_are_usage_errors(run: Any, arguments: list[str], said: str) -> None:
    """Exit code 64, what is wrong, and where to read more."""
    ended = run(*arguments)
    assert ended["code"] == 64
    assert said in ended["err"]
    assert "hint: testbed" in ended["err"]


@pytest.mark.parametrize("command", ["", "run", "list", "replay", "report", "up", "doctor", "search"])
def test_each_command_explains_itself(run: Any, command: str) -> None:
    """``--help`` ends well; the overview names the exit codes."""
    ended = run(*command.split(), "--help")
    assert ended["code"] == 0
    assert ended["out"].startswith(f"usage: {' '.join(['testbed', *command.split()])} [-h]")
    assert ("64 wrong usage" in ended["out"]) == (command == "")


def test_a_search_without_hypothesis_says_what_to_install(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    for name in [name for name in sys.modules if name.startswith(("testbed.search.", "testbed.strategies"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    ended = run("search", "flash-sale", "--runs", "5")
    assert ended["code"] == 64
    assert ended["err"] == (
        "testbed: a search needs Hypothesis, which is not installed\n  hint: pip install hypothesis\n"
    )


def test_a_search_for_a_fault_that_is_none_is_a_usage_error(run: Any) -> None:
    """It names those that there are."""
    ended = run("search", "flash-sale", "--fault", "Gremlin")
    assert ended["code"] == 64
    assert ended["err"].startswith("testbed: a search knows no fault 'Gremlin'\n  hint: there are ")
    assert "Throttle" in ended["err"]


def test_a_container_engine_without_docker_is_no_run(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by name it is not replaced by the other one; nothing is started, and no run folder is left."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    ended = run("run", "flash-sale", "--engine", "container")
    assert ended["code"] == 70
    assert "testbed: no Docker engine answers at unix:///nowhere/docker.sock: No such file" in ended["err"]
    assert "--engine process" in ended["err"]


@pytest.mark.parametrize(
    ("variable", "option", "engine"),
    [(None, [], "auto"), ("process", [], "process"), ("process", ["--engine", "auto"], "auto")],
)
def test_the_engine_is_that_of_the_option_then_of_the_variable(
    run: Any, monkeypatch: pytest.MonkeyPatch, variable: str | None, option: list[str], engine: str
) -> None:
    """TESTBED_ENGINE is the default of --engine."""
    monkeypatch.delenv("TESTBED_ENGINE", raising=False)
    if variable:
        monkeypatch.setenv("TESTBED_ENGINE", variable)
    asked: list[Any] = []
    monkeypatch.setattr(cli, "_execute", lambda _, given: asked.append(given.engine) or 0)
    assert run("run", "flash-sale", *option)["code"] == 0
    assert asked == [engine]


@pytest.mark.parametrize("command", [["run", "flash-sale"], ["up"]])
def test_a_variable_that_names_no_engine_is_refused(
    run: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """A typo in it must not choose another engine in silence."""
    monkeypatch.setenv("TESTBED_ENGINE", "docker")
    ended = run(*command)
    assert ended["code"] == 64
    assert ended["err"].startswith("testbed: TESTBED_ENGINE=docker names no engine\n  hint: there are auto, ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "flash-sail"], "there is no scenario 'flash-sail'\n  hint: did you mean flash-sale?\n"),
        (
            ["run", "flash-sale", "--architecture", "x"],
            "scenario 'flash-sale' has no architecture 'x'\n  hint: its arch",
        ),
        (["run", "broken.py"], "scenario file "),
        (["replay", "nowhere"], "nowhere is no run folder"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["up", "flash-sail"], "there is no scenario 'flash-sail'"),
    ],
)
def test_mistakes_get_one_message_and_leave_nothing(run: Any, arguments: list[str], said: str) -> None:
    """Exit code 64 before anything is started or created."""
    Path("broken.py").write_text("1 / 0\n")
    ended = run(*arguments)
    assert ended["code"] == 64
    assert ended["err"].startswith(f"testbed: {said}")
    assert ended["out"] == ""
    assert {path.name for path in Path().iterdir()} <= {"broken.py", "__pycache__"}  # Python's own, where it may


@pytest.mark.parametrize("command", ["replay", "report"])
def test_a_run_folder_of_another_time_is_refused(run: Any, command: str) -> None:
    """A schema version that this testbed does not know is never guessed at."""
    Path("manifest.json").write_text(json.dumps({"schema_version": 2}))
    ended = run(command, ".")
    assert ended["code"] == 64
    assert "has schema_version 2, this testbed reads 1" in ended["err"]


def test_too_few_connections_are_refused_before_the_start(run: Any) -> None:
    """Postgres keeps three for superusers; no run folder is left."""
    Path("small.py").write_text(
        "from testbed import *\n"
        "from testbed import Architecture, Constant, Database, Scenario, Traffic\n"
        "SCENARIO = Scenario(name='s', summary='', database=Database(max_connections=3),\n"
        "    traffic=Traffic(arrivals=Constant(rate=1, seconds=1), order=lambda i, _: {}),\n"
        "    architectures=[Architecture(name='a', summary='', deploy=None, expectations=[])])\n"
    )
    ended = run("run", "small.py")
    assert ended["code"] == 64
    assert "max_connections=3 is too small for Postgres" in ended["err"]
    assert list(Path("runs").iterdir()) == []


def test_an_order_that_cannot_be_made_is_shown(run: Any) -> None:
    """The traffic is planned before anything is started; the scenario's own lines are named."""
    Path("orders.py").write_text(
        "from testbed import Architecture, Constant, Scenario, Traffic\n"
        "def order(order_id, rng):\n"
        "    return {'id': order_id, 'n': rng.no_such_method()}\n"
        "SCENARIO = Scenario(name='s', summary='', \n"
        "    traffic=Traffic(arrivals=Constant(rate=1, seconds=1), order=order),\n"
        "    architectures=[Architecture(name='a', summary='', deploy=None, expectations=[])])\n"
    )
    ended = run("run", "orders.py")
    assert ended["code"] == 64
    assert "the traffic of scenario 's' cannot be planned:\n" in ended["err"]
    assert "line 3, in order" in ended["err"]
    assert "no_such_method" in ended["err"]


def test_list_shows_what_works_and_what_does_not(run: Any) -> None:
    """A broken file in ./scenarios does not hide the others."""
    Path("scenarios").mkdir()
    Path("scenarios/broken.py").write_text("import no_such_module\n")
    ended = run("list")
    assert ended["code"] == 0
    assert "flash-sale           ten times the usual orders" in ended["out"]
    assert "sync: API Gateway -> Lambda -> Postgres" in ended["out"]
    assert "No module named 'no_such_module'" in ended["out"]


def raising(error: BaseException) -> Any:
    def command(_arguments: object) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("wrong", "do this"), 64, "testbed: wrong\n  hint: do this\n"),
        (HarnessError("cannot"), 70, "testbed: cannot\n"),
        (
            EngineDiedError("LocalStack", "was killed by SIGKILL", "one\ntwo"),
            2,
            (
                "testbed: LocalStack was killed by SIGKILL\nthe end of its log:\n  | one\n  | two\n"
                "  hint: what was recorded until then is kept\n"
            ),
        ),
        (KeyboardInterrupt(), 2, "testbed: interrupted; everything that it started is stopped\n"),
    ],
)
def test_an_error_is_message_log_and_hint(
    run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    """In this order, and with the exit code of its kind."""
    monkeypatch.setattr(cli, "_doctor", raising(error))
    ended = run("doctor")
    assert (ended["code"], ended["err"]) == (code, said)


def test_a_defect_never_looks_like_a_verdict(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would end with 1, which means invalid; the traceback is for whoever mends it."""
    monkeypatch.setattr(cli, "_doctor", raising(ZeroDivisionError("x")))
    ended = run("doctor")
    assert ended["code"] == 70
    assert "ZeroDivisionError: x" in ended["err"]
    assert ended["err"].endswith("please report it with the lines above\n")


def found(**changes: Any) -> EngineFacts:
    here = Path("/usr/bin")
    fields: dict[str, Any] = {
        "cache": Path("/cache"),
        "python": here / "python3",
        "python_version": "3.13",
        "localstack_version": "4.14.0",
        "localstack_folder": Path("/cache/localstack"),
        "localstack_installed": True,
        "postgres_folder": here,
        "postgres_version": "16.14",
        "postgres_origin": "system",
        "problems": (),
        "containers": ContainerFacts("", Images("l:1", "p:1"), (), "no Docker engine answers (start Docker)"),
    }
    return EngineFacts(**fields | changes)


def test_doctor_says_what_will_be_used(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is there: versions, places, and what to do next."""
    monkeypatch.setattr(doctor, "inspect_engine", found)
    ended = run("doctor")
    assert ended["code"] == 0
    assert "engine       child processes: no Docker engine answers (start Docker)\n" in ended["out"]
    assert "LocalStack   4.14.0 on Python 3.13, /cache/localstack\n" in ended["out"]
    assert "Postgres     16.14, system\n" in ended["out"]
    assert ended["out"].endswith("Nothing is missing: testbed run flash-sale\n")


@pytest.mark.parametrize(
    ("asked", "containers", "expected"),
    [
        ("auto", ("28.2", ()), (0, "engine       containers: Docker answers and has the images\n")),
        ("auto", ("28.2", ()), (0, "Docker       28.2, l:1 (here), p:1 (here)\n")),
        ("auto", ("28.2", ("p:1",)), (0, "engine       containers, if p:1 can be pulled; else child processes\n")),
        ("auto", ("28.2", ("p:1",)), (0, "Docker       28.2, l:1 (here), p:1 (not here)\n")),
        ("auto", ("28.2", (), "needs a token"), (70, "engine       child processes: needs a token\n")),
        ("process", ("28.2", ()), (70, "engine       child processes, as TESTBED_ENGINE says\n")),
        ("container", ("28.2", ()), (0, "engine       containers, as TESTBED_ENGINE says\n")),
        ("container", ("", (), "no Docker engine answers"), (70, "Missing:\n  - no Docker engine answers\n")),
    ],
)
def test_doctor_says_which_engine_and_why(
    run: Any, monkeypatch: pytest.MonkeyPatch, asked: str, containers: Any, expected: tuple[int, str]
) -> None:
    """What child processes lack matters only where they are used."""
    docker, absent, *problem = containers
    facts = ContainerFacts(docker, Images("l:1", "p:1"), absent, *problem)
    monkeypatch.setenv("TESTBED_ENGINE", asked)
    monkeypatch.setattr(doctor, "inspect_engine", lambda: found(containers=facts, problems=("no Postgres was found",)))
    ended = run("doctor")
    code, said = expected
    assert said in ended["out"]
    assert ended["code"] == code


def test_doctor_says_that_the_first_run_installs(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """LocalStack is not there yet, which is no problem."""
    monkeypatch.setattr(doctor, "inspect_engine", lambda: found(localstack_installed=False))
    ended = run("doctor")
    assert ended["code"] == 0
    assert "not installed yet: the first run does it, into /cache" in ended["out"]


def test_doctor_says_what_is_missing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem with the way out, and exit code 70: no run could be made."""
    facts = found(localstack_folder=None, postgres_folder=None, problems=("no Postgres was found: install it",))
    monkeypatch.setattr(doctor, "inspect_engine", lambda: facts)
    monkeypatch.setattr(doctor, "_RUN_BYTES", 2**80)
    ended = run("doctor")
    assert ended["code"] == 70
    assert "\nMissing:\n  - no Postgres was found: install it\n  - space in " in ended["out"]


def test_how_a_process_ended_is_told_in_words() -> None:
    """By a signal's name, or with its exit code."""
    assert how_ended(-signal.SIGKILL) == "was killed by SIGKILL"
    assert how_ended(3) == "ended with exit code 3"


def test_a_replay_takes_the_options_of_the_run(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its seed is the run's, and where it came from too."""
    options = {
        "scenario": "flash-sale",
        "seed": 5,
        "seed_from": "generated",
        "architectures": ["sync"],
        "engine": "auto",
        "scale": 0.5,
        "no_chaos": True,
    }
    Path("manifest.json").write_text(json.dumps({"schema_version": 1, "options": options}))
    asked: list[Any] = []
    monkeypatch.setattr(cli, "_execute", lambda _, given: asked.append(given) or 0)
    assert run("replay", ".")["code"] == 0
    assert run("run", "flash-sale", "--architecture", "sync", "--scale", "0.5", "--no-chaos")["code"] == 0
    assert [each.seed_from for each in asked] == ["generated", "generated"]
    assert asked[0].seed == 5
    assert asked[1].seed != 5
    assert asked[0].architectures == asked[1].architectures == ("sync",)


STANDING = ["--endpoint", "http://127.0.0.1:4566/", "--dsn", "postgresql://postgres@127.0.0.1/postgres"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (STANDING[:2], "--dsn is missing: the Postgres of the testbed at http://127.0.0.1:4566/"),
        (STANDING[2:], "--dsn needs --endpoint"),
        ([*STANDING, "--engine", "process"], "--engine means nothing with --endpoint"),
        (["--endpoint", "localhost", *STANDING[2:]], "'localhost' is no endpoint of a testbed"),
        ([*STANDING[:2], "--dsn", "postgres"], "the DSN cannot be read"),
    ],
)
def test_a_standing_testbed_is_named_as_a_whole(run: Any, arguments: list[str], said: str) -> None:
    """Its endpoint and its Postgres, and no engine; no run folder is left."""
    ended = run("run", "flash-sale", *arguments)
    assert ended["code"] == 64
    assert ended["err"].startswith(f"testbed: {said}")
    assert "hint: " in ended["err"]
    assert not Path("runs").exists()


@pytest.fixture
def stood(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Which standing testbed each run was given; no run is made."""
    given: list[Any] = []

    async def run_scenario(*_: Any, standing: Any, **__: Any) -> None:
        given.append(standing)
        raise HarnessError("enough")

    monkeypatch.setattr("testbed.runner.run_scenario", run_scenario)
    return given


def test_variables_say_what_should_not_stand_in_a_history(
    run: Any, monkeypatch: pytest.MonkeyPatch, stood: list[Any]
) -> None:
    """Token and DSN; an option wins. Without a token it is that of docker-compose.yml."""
    monkeypatch.delenv("TESTBED_TOKEN", raising=False)
    monkeypatch.setenv("TESTBED_DSN", "postgresql://u:pw@db/d")
    monkeypatch.setenv("TESTBED_ENGINE", "process")
    run("run", "flash-sale", *STANDING[:2])
    monkeypatch.setenv("TESTBED_TOKEN", "t")
    run("run", "flash-sale", *STANDING)
    run("run", "flash-sale")
    first, second, own = stood
    assert (first.endpoint, first.dsn, first.token) == ("http://127.0.0.1:4566", "postgresql://u:pw@db/d", "testbed")
    assert (second.dsn, second.token) == (STANDING[3], "t")
    assert own is None


def test_a_replay_uses_the_testbed_that_the_run_used(
    run: Any, monkeypatch: pytest.MonkeyPatch, stood: list[Any]
) -> None:
    """It asks for the DSN, which no run folder keeps; another endpoint may be given, whatever engine the run had."""
    monkeypatch.delenv("TESTBED_DSN", raising=False)
    options = {"scenario": "flash-sale", "seed": 5, "seed_from": "cli", "architectures": [], "engine": "auto"}
    manifest = Path("manifest.json")
    manifest.write_text(json.dumps({"schema_version": 1, "options": options | {"endpoint": "http://a:1"}}))
    ended = run("replay", ".")
    assert ended["code"] == 64
    assert "--dsn is missing: the Postgres of the testbed at http://a:1\n" in ended["err"]
    run("replay", ".", *STANDING[2:])
    manifest.write_text(json.dumps({"schema_version": 1, "options": options | {"engine": "container"}}))
    run("replay", ".", *STANDING)
    assert [each.endpoint for each in stood] == ["http://a:1", "http://127.0.0.1:4566"]
