"""Who calls: functions are known by what every AWS SDK says of itself, with nothing for a handler to do."""

import asyncio
from pathlib import Path
from typing import Any

import boto3
import pytest
from gateway_world import World
from multidict import CIMultiDict

from testbed.chaos.faults.throttle import Throttle
from testbed.compute.environment import Environment, Settings
from testbed.compute.functions import Function
from testbed.compute.runtime_api import RuntimeApi
from testbed.gateway.message import Inbound
from testbed.gateway.origin import caller_of, function_name


def environ(name: str, folder: Path, variables: dict[str, str], gateway: str) -> dict[str, str]:
    """The variables that the compute plane sets in the process of function ``name``."""
    function = Function(
        name=name, version="$LATEST", revision="1", runtime="python3.12", handler="app.handler", timeout=3.0,
        memory_mb=128, variables=variables, log_format="Text", code=folder,
    )  # fmt: skip
    settings = Settings(gateway_url=gateway, run="test", region="us-east-1", account_id="000000000000", temp=folder)
    processes: Any = None  # none is started
    return Environment("e-1", function, processes, _api(), settings=settings, on_end=lambda _: None)._environ()


def _api() -> RuntimeApi:
    api = RuntimeApi()
    api.address = "127.0.0.1:9"
    return api


async def called_as(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, variables: dict[str, str] | None = None
) -> str:
    """Whom the gateway sees when a handler of function ``name`` makes a plain boto3 client and calls SQS."""
    for variable, value in environ(name, folder, variables or {}, f"http://{world.host}").items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(variable, value)
    client = boto3.Session().client("sqs")
    await asyncio.to_thread(client.list_queues)
    caller: str = world.journal.of("aws")[-1]["caller"]
    return caller


async def test_a_function_is_known_by_its_name(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Real boto3, in the environment of a function, with nothing set by hand."""
    assert await called_as(world, monkeypatch, tmp_path, "take-orders_2") == "function:take-orders_2"


async def test_a_long_name_is_cut_without_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Botocore takes 50 characters; names of functions may have 64."""
    assert await called_as(world, monkeypatch, tmp_path, "f" * 64) == "function:" + "f" * 50
    assert "user_agent_appid" not in caplog.text


async def test_an_application_id_of_the_user_s_own_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The variables of the function win, as they would on AWS."""
    variables = {"AWS_SDK_UA_APP_ID": "shop"}
    assert await called_as(world, monkeypatch, tmp_path, "take-orders", variables) == "function:shop"


async def test_a_fault_can_be_for_one_function_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its calls are hit, those of others are not."""
    world.arm(Throttle(service="sqs", probability=1.0, callers=("function:take-orders",)))
    assert await called_as(world, monkeypatch, tmp_path, "other") == "function:other"
    with pytest.raises(Exception, match="RequestThrottled"):
        await called_as(world, monkeypatch, tmp_path, "take-orders", {"AWS_MAX_ATTEMPTS": "1"})


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ({}, "client"),
        ({"User-Agent": "curl/8"}, "client"),
        ({"User-Agent": "Boto3/1.44 md/Botocore#1.44 app/my-laptop"}, "client"),
        ({"User-Agent": "Boto3/1.44 exec-env/AWS_Lambda_python3.12"}, "client"),
        ({"User-Agent": "Boto3/1.44 exec-env/AWS_Lambda_python3.12 app/f cfg/x"}, "function:f"),
        ({"User-Agent": "aws-sdk-js/3 exec-env/AWS_Lambda_nodejs app/f"}, "function:f"),
        ({"x-testbed-caller": "emulator", "User-Agent": "x exec-env/AWS_Lambda app/f"}, "emulator"),
    ],
)
def test_callers_are_told_apart(headers: dict[str, str], caller: str) -> None:
    """An application id alone, as anybody may set it, makes no function."""
    assert caller_of(Inbound("POST", "/", CIMultiDict(headers))) == caller


@pytest.mark.parametrize(
    "reference",
    [
        "orders",
        "orders:live",
        "000000000000:function:orders",
        "arn:aws:lambda:us-east-1:000000000000:function:orders",
        "arn:aws:lambda:us-east-1:000000000000:function:orders:$LATEST",
        "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aorders",
    ],
)
def test_every_way_to_name_a_function_is_read(reference: str) -> None:
    """Name, partial ARN and ARN, with a qualifier and without (AWS Lambda API reference, Invoke, FunctionName)."""
    assert function_name(reference) == "orders"


def test_a_function_may_be_called_function() -> None:
    """A name is a name."""
    assert function_name("function") == "function"
    assert function_name("arn:aws:lambda:us-east-1:000000000000:function:function") == "function"
