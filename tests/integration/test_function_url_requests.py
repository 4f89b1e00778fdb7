"""Function URLs as boto3 and CloudFormation create them, without DNS."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from observing import JournalReader, RecordingFunction, package_of, unique, wait_until

from testbed import deploy
from testbed.running import RunningTestbed

pytestmark = pytest.mark.one_engine
Deploy = Callable[..., RecordingFunction]


def post(url: str, body: bytes = b"{}") -> tuple[int, bytes]:
    """Status and body."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.rule("url.address", "url.event", "url.response", "url.throttle", "url.function-error")
def test_the_url_that_boto3_tells_works(
    bed: RunningTestbed, journal: JournalReader, recording_function: Deploy
) -> None:
    """Created, listed, used, throttled by a reserved concurrency of 0, deleted."""
    function = recording_function(
        "if event['body'] == '1':\n    raise KeyError(1)\nreturn {'statusCode': 201, 'body': event['rawPath']}"
    )
    client, name = bed.aws.client("lambda"), {"FunctionName": function.name}
    url = client.create_function_url_config(**name, AuthType="NONE")["FunctionUrl"]
    assert url.startswith(bed.aws.endpoint_url)
    assert client.get_function_url_config(**name)["FunctionUrl"] == url
    assert [each["FunctionUrl"] for each in client.list_function_url_configs(**name)["FunctionUrlConfigs"]] == [url]
    assert post(f"{url}orders/7") == (201, b"/orders/7")
    assert post(url, b"1") == (502, b"Internal Server Error")
    client.put_function_concurrency(**name, ReservedConcurrentExecutions=0)
    assert post(url)[0] == 429
    client.delete_function_concurrency(**name)
    client.delete_function_url_config(**name)
    assert post(url)[0] == 403
    lines = journal.wait_for("url", count=3, function=function.name)
    assert [line["status"] for line in lines] == [201, 502, 429]


@pytest.mark.rule("url.alias")
def test_a_url_of_an_alias_runs_its_version(bed: RunningTestbed, recording_function: Deploy, tmp_path: Path) -> None:
    """Whatever $LATEST has become; the URL goes with its function."""
    function = recording_function("return 'old'")
    client, name = bed.aws.client("lambda"), {"FunctionName": function.name}
    version = client.publish_version(**name)["Version"]
    client.create_alias(**name, Name="live", FunctionVersion=version)
    client.update_function_code(**name, ZipFile=package_of(tmp_path / "new", "return 'new'"))
    urls = [
        client.create_function_url_config(**name, AuthType="NONE", **more)["FunctionUrl"]
        for more in ({}, {"Qualifier": "live"})
    ]
    assert [post(url) for url in urls] == [(200, b'"new"'), (200, b'"old"')]
    client.delete_function(**name)
    assert [post(url)[0] for url in urls] == [403, 403]


def test_a_stack_tells_the_same_url(bed: RunningTestbed) -> None:
    """``Fn::GetAtt`` of an AWS::Lambda::Url is usable as it is."""
    cloudformation, stack = bed.aws.client("cloudformation"), unique("stack")
    code = "def handler(event, context):\n    return event['requestContext']['http']['method']\n"
    properties = {"Runtime": deploy.RUNTIME, "Handler": "index.handler", "InlineCode": code}
    function = {"Type": "AWS::Serverless::Function", "Properties": properties}
    url = {
        "Type": "AWS::Lambda::Url",
        "Properties": {"AuthType": "NONE", "TargetFunctionArn": {"Fn::GetAtt": ["Function", "Arn"]}},
    }
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"Function": function, "Url": url},
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Url", "FunctionUrl"]}}},
    }
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template), Capabilities=capabilities)

    def status() -> str:
        found: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return found

    wait_until(lambda: "PROGRESS" not in status(), f"stack {stack}", seconds=30)
    assert status() == "CREATE_COMPLETE"
    output = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"][0]["OutputValue"]
    assert post(output) == (200, b'"POST"')
    cloudformation.delete_stack(StackName=stack)
