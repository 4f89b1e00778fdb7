"""The commands as a user types them, and what they leave in the run folder."""

import json
import re
import shlex
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from command import TINY, Command, assert_nothing_is_left, command, ran, run_tiny

NUMBER = None
CONTRACT = {
    "schema_version": NUMBER,
    "scenario": "",
    "seed": NUMBER,
    "verdict": "",
    "engine": dict.fromkeys(("mode", "emulator", "emulator_version", "postgres_version"), "")
    | {"max_connections": NUMBER},
    "architectures": {
        "chaotic": {
            "verdict": "",
            "ledger": dict.fromkeys(
                (
                    "attempted",
                    "acknowledged",
                    "refused",
                    "unknown",
                    "unsent",
                    "stored",
                    "dead_lettered",
                    "left",
                    "lost",
                    "duplicated",
                    "ghost",
                    "unexpected",
                    "refused_but_stored",
                    "poison",
                    "poison_stored",
                    "collateral",
                )
            ),
            "examples": {},
            "latency_ms": dict.fromkeys(("p50", "p95", "p99", "p999", "max")),
            "resources": dict.fromkeys(
                (
                    "peak_concurrency",
                    "peak_connections",
                    "throttles",
                    "cold_starts",
                    "peak_queue_depth",
                    "drain_seconds",
                )
            ),
            "faults": dict.fromkeys(("armed", "fired")),
            "expectations": [{"claim": "", "holds": True, "observed": ""}],
        }
    },
}
"""verdict.json of a valid run of one architecture: every name, and what kind of value it has."""
SEED_DECIDES = ("ledger", "examples", "faults", "expectations", "verdict")


@pytest.fixture(scope="module")
def chaotic(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A run under faults and poison that has ended."""
    return ran(tmp_path_factory.mktemp(f"chaotic-{mode}"), *run_tiny("chaotic", "--json"))


def test_json_prints_the_verdict_and_nothing_else(chaotic: Command) -> None:
    """What is on stdout is verdict.json; progress goes to stderr."""
    assert chaotic.process.returncode == 0
    assert json.loads(chaotic.out) == chaotic.document("verdict.json")
    assert "chaotic draining" in chaotic.err


def kinds(value: Any) -> Any:
    """A document in the manner of ``CONTRACT``."""
    match value:
        case dict():
            return {name: kinds(part) for name, part in value.items()}
        case list():
            return [kinds(part) for part in value]
        case bool():
            return value
        case str():
            return ""
        case int() | float():
            return NUMBER
    raise AssertionError(f"{value!r} is not in the contract")


def test_verdict_json_keeps_to_its_contract(chaotic: Command) -> None:
    """Others read it: no name is missing, none is too many, each value is of its kind."""
    assert kinds(chaotic.document("verdict.json")) == CONTRACT


def test_the_run_folder_is_complete(chaotic: Command) -> None:
    """It is named after time, scenario and seed, ``latest`` points to it, and every document is there."""
    assert re.fullmatch(r"\d{8}T\d{6}Z-tiny-1", chaotic.run_folder.name)
    assert (chaotic.folder / "runs" / "latest").readlink() == Path(chaotic.run_folder.name)
    for name in ("manifest.json", "history.jsonl", "journal.jsonl", "verdict.json", "report.html", "junit.xml"):
        assert (chaotic.run_folder / name).stat().st_size, name


def test_the_manifest_says_what_decided_the_run(chaotic: Command, mode: str) -> None:
    """Versions of engine, Postgres, Python and botocore, its retry mode, seed, options and machine."""
    manifest = chaotic.document("manifest.json")
    assert manifest["engine"] == chaotic.document("verdict.json")["engine"]
    assert manifest["engine"]["mode"] == mode
    assert manifest["schema_version"] == 1
    assert manifest["seed"] == 1
    assert manifest["options"]["scenario"] == str(TINY)
    assert manifest["retry_mode"] == "standard"
    assert manifest["engine"]["postgres_version"]
    assert manifest["engine"]["emulator_version"]
    assert {"python", "botocore", "psycopg", "serverless-testbed"} <= manifest["versions"].keys()
    assert manifest["machine"]["cpus"]


def test_junit_has_a_case_for_each_expectation(chaotic: Command) -> None:
    """A CI server reads the same result."""
    suites = ET.parse(chaotic.run_folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert [suite.get("name") for suite in suites] == ["tiny.chaotic"]
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("1", "0", "0")


def test_a_replay_decides_the_same(chaotic: Command, tmp_path: Path) -> None:
    """From another folder, with the options of the first run: faults, poison and fate of each order are the same."""
    replay = ran(tmp_path, "replay", chaotic.folder / "runs" / "latest", "--json")
    assert replay.process.returncode == 0
    first, second = (json.loads(run.out) for run in (chaotic, replay))
    assert second["seed"] == first["seed"]
    assert first["architectures"]["chaotic"]["faults"]["fired"] > 0
    assert first["architectures"]["chaotic"]["ledger"]["poison"] == 2
    for key in SEED_DECIDES:
        assert second["architectures"]["chaotic"][key] == first["architectures"]["chaotic"][key], key
    assert outcomes(replay) == outcomes(chaotic)
    hits = hit(chaotic)
    assert sorted(hits) == sorted(set(hits))
    assert {fault: sum(each[0] == fault for each in hits) for fault in ("counted", "timed")} == {
        "counted": 5,
        "timed": 2,
    }
    assert sorted(hit(replay)) == sorted(hits)
    assert f"replay: chaotic: all {len(hits) - 2} hits of faults were repeated" in replay.err


def hit(run: Command) -> list[tuple[str, str, str]]:
    """What faults hit: of those of calls which attempt of which call, of timed ones which begin and which end."""
    lines = (json.loads(line) for line in (run.run_folder / "journal.jsonl").read_text().splitlines())
    return [
        (line["fault"], line.get("event") or line["identity"], str(line.get("attempt")))
        for line in lines
        if line["hop"] == "fault"
    ]


def outcomes(run: Command) -> dict[str, tuple[str, str | None]]:
    """What came of each order."""
    lines = (json.loads(line) for line in (run.run_folder / "history.jsonl").read_text().splitlines())
    return {line["id"]: (line["outcome"], line["error"]) for line in lines}


def test_report_writes_the_page_anew(chaotic: Command) -> None:
    """From the run folder alone, and says where."""
    page = chaotic.run_folder / "report.html"
    before = page.read_text()
    page.unlink()
    folder = f"../runs/{chaotic.run_folder.name}"
    report = ran(chaotic.folder / "elsewhere", "report", folder)
    assert report.process.returncode == 0
    assert report.out == f"{folder}/report.html\n"
    assert page.read_text().replace(folder, folder.removeprefix("../")) == before


@pytest.fixture(scope="module")
def kept(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A run that stays up, of two architectures, for half as long and without chaos."""
    options = ["--architecture", "direct", "--no-chaos", "--scale", "0.5", "--keep"]
    with command(tmp_path_factory.mktemp(f"kept-{mode}"), *run_tiny("chaotic", *options)) as run:
        run.until(lambda: "kept running until Ctrl-C" in run.err, "the end of the run")
        yield run


def test_options_shape_the_run(kept: Command) -> None:
    """Both architectures in the order asked for, half the orders, no fault and no poison."""
    found = kept.document("verdict.json")["architectures"]
    assert list(found) == ["chaotic", "direct"]
    for architecture in found.values():
        assert architecture["ledger"]["attempted"] == 20
        assert architecture["ledger"]["poison"] == 0
        assert architecture["faults"] == {"armed": 0, "fired": 0}


def test_a_kept_run_still_answers_until_ctrl_c(kept: Command) -> None:
    """The table is printed at once, the endpoint answers; Ctrl-C ends it with the verdict's exit code."""
    assert "✓ valid  Report: runs/" in kept.out
    token = kept.token()
    endpoint = re.search(r"endpoint (http://\S+),", kept.err)
    assert endpoint
    assert list_buckets(endpoint[1])
    kept.process.send_signal(signal.SIGINT)
    assert kept.wait() == 0
    assert kept.out.count("✓ valid  Report: runs/") == 1
    assert_nothing_is_left(token)


def list_buckets(endpoint: str) -> bytes:
    """Any call that LocalStack answers."""
    headers = {"Host": "s3.amazonaws.com", "Authorization": "AWS4-HMAC-SHA256 Credential=t/1/us-east-1/s3/aws4_request"}
    request = urllib.request.Request(endpoint, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as response:  # noqa: S310 - the same
        return bytes(response.read())


@pytest.mark.usefixtures("mode")
def test_up_deploys_and_says_how_to_use_it(tmp_path: Path) -> None:
    """Endpoint, database and addresses are printed, orders can be posted and faults added; Ctrl-C is the good end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with command(tmp_path, "up", TINY, "--port", str(port)) as up:
        up.until(lambda: "Ctrl-C stops everything" in up.out, "the deployment")
        token = up.token()
        assert f"endpoint   http://127.0.0.1:{port}\n" in up.out
        assert re.search(r"^database   postgresql://app(:[\w-]+)?@127\.0\.0\.1:", up.out, re.MULTILINE)
        address = re.search(r"direct\n  POST (\S+)", up.out)
        assert address
        assert post_order(address[1]) == 201
        add, remove = (shlex.split(line) for line in re.findall(r"  (curl .*_testbed/chaos .*)\n", up.out))
        assert json.loads(subprocess.check_output(add))["added"] == ["throttle-1"]
        assert json.loads(subprocess.check_output(remove))["faults"] == []
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 0
    said = up.err.splitlines()
    assert (said[0], said[-1]) == ("starting LocalStack and Postgres", "everything is stopped")
    assert_nothing_is_left(token)


def post_order(url: str) -> int:
    """The status of a good order."""
    order: dict[str, Any] = {"id": "o-1", "customer": "c", "sku": "s", "quantity": 1, "total_cents": 1}
    request = urllib.request.Request(url, json.dumps(order).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as response:  # noqa: S310 - the same
        return int(response.status)
