"""The examples in the pages work as they are printed."""

import inspect
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
import yaml
from botocore.validate import validate_parameters
from markdown_pages import Block, blocks, read

import testbed
from testbed.catalog import load_scenario
from testbed.gateway.classify import service_model
from testbed.ledger.verdict import ArchitectureVerdict, Claim, EngineFacts, Facts, RunVerdict
from testbed.pytest_plugin import RunScenario

PYTHON = blocks("python")
ELSEWHERE = {"observing.md"}
FILES = [block for block in PYTHON if block.file]
TESTS = [block for block in PYTHON if block.text.startswith("def test_")]
FRAGMENTS = [block for block in PYTHON if block.text.startswith("aws.")]
STATEMENTS = [block for block in PYTHON if re.search(r"^fault = [^\n]*\)\n\Z", block.text, re.MULTILINE)]
"""Of faults; test_faults_page.py runs the examples that they are from."""
PLACES = [block for block in PYTHON if "def ids(self, places):" in block.text]
DEPLOYS = [block for block in PYTHON if block.text.startswith("def direct(aws, db):")]
OTHERS = FILES + TESTS + FRAGMENTS + STATEMENTS + PLACES + DEPLOYS
RUNNABLE = [block for block in PYTHON if block not in OTHERS and block.page not in ELSEWHERE]


def label(block: Block) -> str:
    return f"{block.page}:{block.file or block.text.splitlines()[0]}"


def write_files(page: str, folder: Path) -> list[Path]:
    """The files of a page, in a folder; returns those that hold scenarios."""
    for block in FILES:
        if block.page == page:
            path = folder / str(block.file)
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    return sorted(folder.glob("*.py"))


@pytest.mark.parametrize("block", RUNNABLE, ids=label)
def test_each_example_runs_by_itself(block: Block, tmp_path: Path) -> None:
    """As a file of its own; the examples hold assertions of their own. Others are run beside their subject."""
    assert "assert " in block.text
    path = tmp_path / "example.py"
    path.write_text(block.text, encoding="utf-8")
    runpy.run_path(str(path), run_name="example")


@pytest.mark.parametrize("page", sorted({block.page for block in FILES}))
def test_each_scenario_loads_and_plans_its_traffic(page: str, tmp_path: Path) -> None:
    """With the functions that it deploys beside it, each under the handler that it names."""
    for path in write_files(page, tmp_path):
        scenario = load_scenario(str(path))
        assert len(scenario.traffic.plan(42, scenario.poison)) > 100
        handlers = re.findall(r'"(\w+)\.handler"', path.read_text(encoding="utf-8"))
        assert handlers
        for module in handlers:
            assert "def handler(event, context):" in (tmp_path / "shop" / f"{module}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", FILES, ids=label)
def test_no_line_of_an_example_is_too_long_to_read(block: Block) -> None:
    """The same limit as for the project's own code."""
    assert max(map(len, block.text.splitlines())) <= 120


class CheckedLambda:
    """Takes what AWS's own model of the Lambda API finds right."""

    def create_event_source_mapping(self, **params: Any) -> None:
        self._check("CreateEventSourceMapping", params)

    def put_function_event_invoke_config(self, **params: Any) -> None:
        self._check("PutFunctionEventInvokeConfig", params)

    def _check(self, operation: str, params: dict[str, Any]) -> None:
        validate_parameters(params, service_model("lambda").operation_model(operation).input_shape)


@pytest.mark.parametrize("block", FRAGMENTS, ids=label)
def test_each_fragment_of_a_deploy_makes_a_deployment(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the model of the API instead of a running one."""
    monkeypatch.setattr(testbed.deploy, "queue_arn", lambda _aws, _url: "arn:aws:sqs:us-east-1:000000000000:failures")
    monkeypatch.setattr(testbed.deploy, "rest_api", lambda *_: "http://127.0.0.1")

    class Aws:
        def client(self, service: str) -> CheckedLambda:
            assert service == "lambda"
            return CheckedLambda()

    names = {name: getattr(testbed, name) for name in testbed.__all__}
    names |= {
        "aws": Aws(),
        "stream": "arn:aws:kinesis:us-east-1:000000000000:stream/shop",
        "failures": "-",
        "take": "-",
    }
    exec(compile(block.text, block.page, "exec"), names)  # noqa: S102 - the page is our own
    assert isinstance(names["deployment"], testbed.Deployment)


class CheckedAws:
    """Takes what AWS's own models find right, and remembers it; a stack is complete at once, and its API is ``api``."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def client(self, service: str) -> "CheckedClient":
        return CheckedClient(self, service)

    def rest_api_url(self, api_id: str, stage: str) -> str:
        return f"http://127.0.0.1/{api_id}/{stage}"


class CheckedClient:
    """One of its clients."""

    def __init__(self, aws: CheckedAws, service: str) -> None:
        self._aws, self._service = aws, service

    def __getattr__(self, name: str) -> Any:
        model = service_model(self._service).operation_model(name.title().replace("_", ""))

        def call(**given: Any) -> dict[str, Any]:
            validate_parameters(given, model.input_shape)
            self._aws.asked.append(given)
            return {"Stacks": [{"Outputs": [{"OutputKey": "Api", "OutputValue": "api"}]}]}

        return call

    def get_waiter(self, name: str) -> Any:
        assert name in boto3.Session("-", "-", region_name="us-east-1").client(self._service).waiter_names
        return SimpleNamespace(wait=lambda **_: None)


class Template(yaml.SafeLoader):
    """Reads what CloudFormation writes with an exclamation mark as what it stands for."""


Template.add_constructor("!Ref", lambda loader, node: {"Ref": loader.construct_scalar(node)})


def test_a_template_is_deployed_as_printed(tmp_path: Path) -> None:
    """In the scenario of the README; its code is where the template finds it, and so are parameters and output."""
    write_files("README.md", tmp_path)
    [template], [deploys] = blocks("yaml"), DEPLOYS
    (tmp_path / "template.yaml").write_text(template.text, encoding="utf-8")
    path = tmp_path / "my_sale.py"
    start, end = re.split(
        r"^def direct.*?^(?=\w)", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE | re.DOTALL
    )
    path.write_text(start + deploys.text + "\n\n" + end, encoding="utf-8")
    [architecture] = load_scenario(str(path)).architectures
    aws = CheckedAws()
    db = testbed.Db("postgresql://functions", "postgresql://superuser")
    assert architecture.deploy(cast("testbed.Aws", aws), db).url == "http://127.0.0.1/api/Prod"
    put = next(asked for asked in aws.asked if "Body" in asked)
    created = next(asked for asked in aws.asked if "TemplateBody" in asked)
    document = yaml.load(created["TemplateBody"], Template)  # noqa: S506 - a safe one
    function = document["Resources"]["Store"]["Properties"]
    assert function["CodeUri"] == f"s3://{put['Bucket']}/{put['Key']}"
    assert f"{function['Handler'].partition('.')[0]}.py" in zipfile.ZipFile(io.BytesIO(put["Body"])).namelist()
    assert created["Parameters"] == [
        {"ParameterKey": name, "ParameterValue": db.dsn} for name in document["Parameters"]
    ]
    assert list(document["Outputs"]) == ["Api"]


class ListedBuckets:
    """Places with an S3 that has two pages of objects, and an empty one."""

    def client(self, service: str) -> "ListedBuckets":
        assert service == "s3"
        return self

    def get_paginator(self, operation: str) -> "ListedBuckets":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **given: Any) -> list[dict[str, Any]]:
        validate_parameters(given, service_model("s3").operation_model("ListObjectsV2").input_shape)
        return [{"Contents": [{"Key": "one"}, {"Key": "two"}]}, {"Contents": [{"Key": "three"}]}, {}]


@pytest.mark.parametrize("block", PLACES, ids=label)
def test_each_place_of_one_s_own_counts_ids(block: Block) -> None:
    """What is printed is a place as the ledger wants it."""
    names: dict[str, Any] = {}
    exec(compile(block.text, block.page, "exec"), names)  # noqa: S102 - the page is our own
    place = next(each for each in names.values() if hasattr(each, "ids"))()
    assert place.ids(ListedBuckets()) == Counter(["one", "two", "three"])
    assert testbed.Deployment(url="http://127.0.0.1", stored=place).stored is place


@pytest.mark.parametrize("block", TESTS, ids=label)
def test_each_example_of_a_test_uses_the_fixture_as_it_is(block: Block) -> None:
    """Its calls fit the fixture's signature, its assertions pass for a good run and fail for a bad one."""

    def result(*, holds: bool) -> Any:
        def stand_in(*args: Any, **kwargs: Any) -> RunVerdict:
            bound = inspect.signature(RunScenario.__call__).bind(None, *args, **kwargs)
            found = ArchitectureVerdict(Facts(), (Claim("it works", holds, ""),))
            names = bound.arguments.get("architectures", ["direct"])
            engine = EngineFacts(mode="", emulator="", emulator_version="", postgres_version="", max_connections=20)
            return RunVerdict(scenario="s", seed=1, engine=engine, architectures=dict.fromkeys(names, found))

        return stand_in

    names: dict[str, Any] = {}
    exec(compile(block.text, block.page, "exec"), names)  # noqa: S102 - the page is our own
    test = next(value for name, value in names.items() if name.startswith("test_"))
    test(result(holds=True))
    with pytest.raises(AssertionError):
        test(result(holds=False))


def test_the_scenario_of_the_readme_runs_as_printed(tmp_path: Path) -> None:
    """By the very command, only shorter; it ends valid, and Lambda's throttle refuses some orders as the page says."""
    write_files("README.md", tmp_path)
    line = next(
        line for line in read("README.md").splitlines() if line.startswith("$ .venv/bin/testbed run my_sale.py")
    )
    program, *arguments = shlex.split(line.removeprefix("$ "))
    command = [str(Path(sys.executable).with_name(Path(program).name)), *arguments, "--scale", "0.3", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = json.loads(done.stdout)["architectures"]["direct"]["ledger"]
    assert ledger["attempted"] == ledger["acknowledged"] + ledger["refused"]
    assert 0 < ledger["refused"] < ledger["attempted"]
    assert ledger["stored"] == ledger["acknowledged"]
