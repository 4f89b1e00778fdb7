"""What every scenario would otherwise repeat in its ``deploy``: packaging a function, a one-method REST API, ARNs.

Plain boto3 all through; a scenario may as well do it by itself, or deploy a SAM template.
"""

import io
import json
import platform
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from testbed.errors import HarnessError, UsageError
from testbed.scenario import REGION, ROLE, Aws

RUNTIME: Final = "python" + ".".join(platform.python_version_tuple()[:2])
"""The Lambda runtime that fits the testbed's own interpreter, which runs the functions."""
_ACTIVE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05


def package(folder: Path) -> bytes:
    """The files of ``folder`` as a deployment package; the same files give the same bytes.

    Raises:
        UsageError: There is no such folder, or nothing in it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    if not files:
        raise UsageError(f"nothing to deploy in {folder}", "a function's folder holds the module of its handler")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, path.read_bytes())
    return packed.getvalue()


def function(
    aws: Aws,
    name: str,
    folder: Path,
    handler: str,
    *,
    timeout: int = 10,
    memory: int = 512,
    reserved_concurrency: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Create a function of the package in ``folder`` and wait until it is active.

    Args:
        aws: Where to.
        name: Name of the function.
        folder: Its deployment package.
        handler: ``module.function``.
        timeout: Seconds.
        memory: MB.
        reserved_concurrency: Concurrent environments set aside for it, and its limit; None shares the account's.
        environment: Its environment variables.

    Returns:
        The ARN of the function.
    """
    client = aws.client("lambda")
    arn: str = client.create_function(
        FunctionName=name,
        Runtime=RUNTIME,
        Role=ROLE,
        Handler=handler,
        Code={"ZipFile": package(folder)},
        Timeout=timeout,
        MemorySize=memory,
        Environment={"Variables": dict(environment or {})},
    )["FunctionArn"]
    _wait_until_active(client, name)
    if reserved_concurrency is not None:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved_concurrency)
    return arn


def _wait_until_active(client: Any, name: str) -> None:
    """Much like boto3's waiter, which looks once a second; here it is a matter of milliseconds."""
    deadline = time.monotonic() + _ACTIVE_SECONDS
    while time.monotonic() < deadline:
        configuration = client.get_function_configuration(FunctionName=name)
        if configuration["State"] == "Active":
            return
        if configuration["State"] == "Failed":
            raise HarnessError(f"function {name!r} cannot be created: {configuration.get('StateReason', 'no reason')}")
        time.sleep(_POLL_SECONDS)
    raise HarnessError(f"function {name!r} did not become active within {_ACTIVE_SECONDS:.0f} s")


def rest_api(aws: Aws, name: str, method: str, path: str, function_arn: str, *, stage: str = "live") -> str:
    """Deploy a REST API with one method that hands every request to a function (Lambda proxy integration).

    Returns:
        The address of the stage; requests go to this and ``path``.
    """
    client = aws.client("apigateway")
    api = client.create_rest_api(name=name)["id"]
    parent = client.get_resources(restApiId=api)["items"][0]["id"]
    for part in path.strip("/").split("/"):
        parent = client.create_resource(restApiId=api, parentId=parent, pathPart=part)["id"]
    client.put_method(restApiId=api, resourceId=parent, httpMethod=method, authorizationType="NONE")
    client.put_integration(
        restApiId=api,
        resourceId=parent,
        httpMethod=method,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations",
    )
    client.create_deployment(restApiId=api, stageName=stage)
    return aws.rest_api_url(api, stage)


def queue_arn(aws: Aws, queue_url: str) -> str:
    """The ARN of a queue."""
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    arn: str = answer["Attributes"]["QueueArn"]
    return arn


def redrive_policy(aws: Aws, dead_letter_queue_url: str, *, max_receive_count: int) -> str:
    """A ``RedrivePolicy``: what was received ``max_receive_count`` times goes to the dead-letter queue."""
    arn = queue_arn(aws, dead_letter_queue_url)
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count})
