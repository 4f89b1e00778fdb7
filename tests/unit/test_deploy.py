"""What scenarios share when they deploy."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from testbed import deploy
from testbed.errors import HarnessError, UsageError


def test_the_same_files_give_the_same_package(tmp_path: Path) -> None:
    """Whatever their dates; compiled files stay behind."""
    packages = []
    for name in ("a", "b"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "__pycache__" / f"{name}.pyc").write_bytes(name.encode())
        (tmp_path / name / "inner").mkdir()
        (tmp_path / name / "inner" / "h.py").write_text("def f(event, context): ...")
        packages.append(deploy.package(tmp_path / name))
    assert packages[0] == packages[1]
    assert zipfile.ZipFile(io.BytesIO(packages[0])).namelist() == ["inner/h.py"]


def test_nothing_to_deploy_is_an_error(tmp_path: Path) -> None:
    """A folder that is empty or not there."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="nothing to deploy in"):
            deploy.package(folder)


class FakeAws:
    """Takes calls by name; ``answers`` by operation."""

    endpoint_url = "http://127.0.0.1:1"

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers

    def client(self, _service: str) -> Any:
        return self

    def rest_api_url(self, api_id: str, stage: str) -> str:
        return f"{self.endpoint_url}/{api_id}/{stage}"

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            answer = self._answers[operation]
            return answer.pop(0) if isinstance(answer, list) else answer

        return call


def create(folder: Path, aws: Any, **options: Any) -> str:
    (folder / "h.py").write_text("")
    return deploy.function(aws, "fn", folder, "h.f", **options)


def test_a_function_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending is not good enough; the reserved concurrency is set when it is asked for."""
    monkeypatch.setattr(deploy, "_POLL_SECONDS", 0)
    aws = FakeAws(
        create_function={"FunctionArn": "arn"},
        get_function_configuration=[{"State": "Pending"}, {"State": "Active"}],
        put_function_concurrency={},
    )
    assert create(tmp_path, aws, reserved_concurrency=3, environment={"A": "1"}) == "arn"
    assert [name for name, _ in aws.calls] == [
        "create_function",
        "get_function_configuration",
        "get_function_configuration",
        "put_function_concurrency",
    ]
    assert aws.calls[0][1]["Environment"] == {"Variables": {"A": "1"}}
    assert aws.calls[-1][1] == {"FunctionName": "fn", "ReservedConcurrentExecutions": 3}


def test_a_function_that_fails_says_why(tmp_path: Path) -> None:
    """The reason is the emulator's."""
    aws = FakeAws(
        create_function={"FunctionArn": "arn"},
        get_function_configuration={"State": "Failed", "StateReason": "no image"},
    )
    with pytest.raises(HarnessError, match="function 'fn' cannot be created: no image"):
        create(tmp_path, aws)


def test_a_function_that_never_gets_active_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end."""
    monkeypatch.setattr(deploy, "_ACTIVE_SECONDS", 0)
    aws = FakeAws(create_function={"FunctionArn": "arn"}, get_function_configuration={"State": "Pending"})
    with pytest.raises(HarnessError, match="did not become active"):
        create(tmp_path, aws)


def test_a_rest_api_hands_its_path_to_the_function() -> None:
    """One resource for each part of the path; the integration is Lambda proxy."""
    aws: Any = FakeAws(
        create_rest_api={"id": "api"},
        get_resources={"items": [{"id": "root"}]},
        create_resource=[{"id": "r1"}, {"id": "r2"}],
        put_method={},
        put_integration={},
        create_deployment={},
    )
    assert deploy.rest_api(aws, "shop", "POST", "/v1/orders", "arn:fn") == "http://127.0.0.1:1/api/live"
    parts = [(call["parentId"], call["pathPart"]) for name, call in aws.calls if name == "create_resource"]
    assert parts == [("root", "v1"), ("r1", "orders")]
    [integration] = [call for name, call in aws.calls if name == "put_integration"]
    assert (integration["resourceId"], integration["type"]) == ("r2", "AWS_PROXY")
    assert "functions/arn:fn/invocations" in integration["uri"]


def test_a_redrive_policy_names_the_dead_letter_queue() -> None:
    """As SQS takes it: JSON in an attribute."""
    aws: Any = FakeAws(get_queue_attributes={"Attributes": {"QueueArn": "arn:dead"}})
    policy = json.loads(deploy.redrive_policy(aws, "http://queue", max_receive_count=3))
    assert policy == {"deadLetterTargetArn": "arn:dead", "maxReceiveCount": 3}
