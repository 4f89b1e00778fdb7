"""REST APIs of the real emulator under the limits that are set there."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from observing import JournalReader, unique

from testbed.running import RunningTestbed
from testbed.scenario import REGION, ROLE

pytestmark = pytest.mark.one_engine
FORM = "'application/x-www-form-urlencoded'"


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    """Status and document."""
    sent = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, data=body, headers=sent, method="POST")  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def api_before_queue(bed: RunningTestbed, queue: str, *, needs_key: bool = False) -> tuple[str, str]:
    """Id of a REST API whose POST /orders is a service integration of SQS's SendMessage, and its address."""
    client = bed.aws.client("apigateway")
    api = client.create_rest_api(name=unique("api"))["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    orders = client.create_resource(restApiId=api, parentId=root, pathPart="orders")["id"]
    method = {"restApiId": api, "resourceId": orders, "httpMethod": "POST"}
    client.put_method(**method, authorizationType="NONE", apiKeyRequired=needs_key)
    client.put_method_response(**method, statusCode="200")
    client.put_integration(
        **method,
        type="AWS",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{REGION}:sqs:path/000000000000/{queue}",
        credentials=ROLE,
        requestParameters={"integration.request.header.Content-Type": FORM},
        requestTemplates={"application/json": "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"},
    )
    client.put_integration_response(**method, statusCode="200")
    client.create_deployment(restApiId=api, stageName="live")
    return api, bed.aws.rest_api_url(api, "live") + "/orders"


@pytest.mark.rule("rest-api.sqs-integration", "rest-api.integrations-throttled", "rest-api.method-throttle")
def test_what_an_api_before_a_queue_has_accepted_is_in_the_queue(bed: RunningTestbed, journal: JournalReader) -> None:
    """Of five requests a method throttle lets three through: these are messages, the others never were."""
    queue = unique("queue")
    url = bed.aws.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    api, address = api_before_queue(bed, queue)
    settings = {"rateLimit": "0.001", "burstLimit": "3"}
    bed.aws.client("apigateway").update_stage(
        restApiId=api,
        stageName="live",
        patchOperations=[
            {"op": "replace", "path": f"/~1orders/POST/throttling/{name}", "value": value}
            for name, value in settings.items()
        ],
    )
    answers = [post(address, json.dumps({"order": number}).encode()) for number in range(5)]
    assert [status for status, _ in answers] == [200, 200, 200, 429, 429]
    assert answers[-1][1] == {"message": "Too Many Requests"}
    received = bed.aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
    assert sorted(json.loads(message["Body"])["order"] for message in received["Messages"]) == [0, 1, 2]
    hops = journal.wait_for("api", count=5, api_id=api, stage="live", resource="/orders")
    assert [hop["cause"] for hop in hops] == [None, None, None, "throttle", "throttle"]
    sent = journal.wait_for("aws", count=3, operation="SendMessage", resource=queue, status=200)
    assert {hop["caller"] for hop in sent} == {"emulator"}


@pytest.mark.rule("rest-api.api-key", "rest-api.quota")
def test_a_usage_plan_of_the_emulator_meters_its_clients(bed: RunningTestbed) -> None:
    """Key, plan and quota as boto3 creates them; a key that is taken out of the plan is refused at once."""
    queue = unique("queue")
    bed.aws.client("sqs").create_queue(QueueName=queue)
    api, address = api_before_queue(bed, queue, needs_key=True)
    client = bed.aws.client("apigateway")
    key = client.create_api_key(name=unique("key"), enabled=True)
    assert post(address, b"{}", **{"X-Api-Key": key["value"]}) == (403, {"message": "Forbidden"})
    plan = client.create_usage_plan(
        name=unique("plan"),
        apiStages=[{"apiId": api, "stage": "live"}],
        throttle={"rateLimit": 100.0, "burstLimit": 50},
        quota={"limit": 2, "period": "MONTH"},
    )["id"]
    client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    assert post(address, b"{}") == (403, {"message": "Forbidden"})
    answers = [post(address, b"{}", **{"X-Api-Key": key["value"]}) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[-1][1] == {"message": "Limit Exceeded"}
    client.delete_usage_plan_key(usagePlanId=plan, keyId=key["id"])
    assert post(address, b"{}", **{"X-Api-Key": key["value"]})[0] == 403
