"""DynamoDB at the gateway: what a table or an index does not take is refused, and never reaches the emulator."""

from dataclasses import replace
from typing import Any

import pytest
from limited import Behind

from testbed.gateway.limits.wire import LIMIT
from testbed.semantics.dynamodb_capacity import DynamoDbProfile
from testbed.semantics.profiles import aws

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
PROVISIONED = "ProvisionedThroughputExceededException"
TWO_KB = {"S": "x" * 1500}


def table(units: int | None = 5, **more: Any) -> dict[str, Any]:
    """A table as DescribeTable shows it: with this capacity for reads and for writes, or on demand."""
    return {
        "TableArn": ARN,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingModeSummary": {"BillingMode": "PROVISIONED" if units else "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": units or 0, "WriteCapacityUnits": units or 0},
        **more,
    }


def index(units: int, projection: str = "ALL", *others: str) -> dict[str, Any]:
    """One by the customer."""
    return {
        "IndexName": "by-customer",
        "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": projection, "NonKeyAttributes": list(others)},
        "ProvisionedThroughput": {"ReadCapacityUnits": units, "WriteCapacityUnits": units},
    }


def behind(description: dict[str, Any], **numbers: float) -> Behind:
    """A table ``orders`` with a second's worth of burst capacity, unless ``numbers`` say otherwise."""
    world = Behind(replace(aws, dynamodb=DynamoDbProfile(**{"burst_seconds": 1, **numbers})))
    world.described["DescribeTable", "orders"] = {"Table": description}
    return world


def item(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": {"S": id_}, **more}


async def put(world: Behind, id_: str = "a", **more: Any) -> Any:
    reply, _ = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item(id_, **more))
    return reply


@pytest.mark.rule("dynamodb.throttle-error")
async def test_a_provisioned_table_refuses_what_exceeds_its_units() -> None:
    """With the documented error; five of one unit each are taken, and five more a second later."""
    world = behind(table(5))
    assert [(await put(world)).status for _ in range(6)] == [200] * 5 + [400]
    reply, document = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item("a"))
    assert (reply.error, reply.cause, document["__type"]) == (PROVISIONED, LIMIT, PROVISIONED)
    assert document["message"].startswith("You exceeded your maximum allowed provisioned throughput for a table or")
    assert document["ThrottlingReasons"] == [{"reason": "TableWriteProvisionedThroughputExceeded", "resource": ARN}]
    assert len(world.sent) == 5
    assert world.limits.throttles == 2
    world.now += 1
    assert [(await put(world)).status for _ in range(6)] == [200] * 5 + [400]


@pytest.mark.rule("dynamodb.burst")
async def test_a_provisioned_table_gives_what_it_has_kept() -> None:
    """Three seconds' worth at once, and again when as many have passed without a write; never more."""
    world = behind(table(5), burst_seconds=3)
    for seconds in (0, 3, 100):
        world.now += seconds
        assert [(await put(world, str(n))).status for n in range(16)] == [200] * 15 + [400]


@pytest.mark.rule("dynamodb.on-demand", "dynamodb.on-demand-growth")
async def test_an_on_demand_table_takes_more_when_its_peak_is_a_previous_one() -> None:
    """A new one three units a second, twice as many after the time in which a peak settles."""
    world = behind(table(None), on_demand_write_units=3, on_demand_settling=10)
    taken = []
    for _ in range(40):
        taken.append([(await put(world, str(n))).status for n in range(20)].count(200))
        world.now += 1
    assert (taken[0], taken[5]) == (3, 3)
    assert max(taken) >= 6


@pytest.mark.rule("dynamodb.partition")
async def test_a_hot_partition_key_is_refused_while_others_are_not() -> None:
    """An on-demand table throttles with an error of its own."""
    world = behind(table(None), partition_write_units=2)
    assert [(await put(world, "hot")).status for _ in range(3)] == [200, 200, 400]
    reply, document = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item("hot"))
    assert (reply.error, document["message"]) == (
        "ThrottlingException",
        "Rate of requests exceeds the allowed throughput.",
    )
    assert document["throttlingReasons"] == [{"reason": "TableWriteKeyRangeThroughputExceeded", "resource": ARN}]
    assert (await put(world, "cold")).status == 200


@pytest.mark.rule("dynamodb.account-limit")
async def test_more_than_a_table_may_ever_take_exceeds_the_account_s_limit() -> None:
    """RequestLimitExceeded."""
    world = behind(table(None), on_demand_write_units=1, table_units=1, on_demand_settling=0)
    await put(world)
    world.now += 1
    await put(world)
    reply, document = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item("a"))
    assert reply.error == "RequestLimitExceeded"
    assert document["ThrottlingReasons"][0]["reason"] == "TableWriteAccountLimitExceeded"


@pytest.mark.rule("dynamodb.on-demand-maximum")
async def test_the_maximum_that_an_owner_sets_holds() -> None:
    """MaxWriteRequestUnits; -1 is none."""
    maximum = {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 2}
    world = behind(table(None, OnDemandThroughput=maximum))
    assert [(await put(world)).status for _ in range(3)] == [200, 200, 400]
    _, document = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item("a"))
    assert document["throttlingReasons"][0]["reason"] == "TableWriteMaxOnDemandThroughputExceeded"
    reply, _ = await world.ask("dynamodb", "GetItem", TableName="orders", Key=item("a"))
    assert reply.status == 200


@pytest.mark.rule("dynamodb.index-back-pressure")
async def test_a_throttled_index_throttles_its_table() -> None:
    """Items that are not in the index go on."""
    world = behind(table(100, GlobalSecondaryIndexes=[index(1)]))
    assert (await put(world, customer={"S": "c"})).status == 200
    _, document = await world.ask("dynamodb", "PutItem", TableName="orders", Item=item("a", customer={"S": "d"}))
    assert document["ThrottlingReasons"] == [
        {"reason": "IndexWriteProvisionedThroughputExceeded", "resource": f"{ARN}/index/by-customer"}
    ]
    assert (await put(world)).status == 200


@pytest.mark.rule("dynamodb.units", "dynamodb.item-size")
async def test_an_index_counts_only_what_is_projected_into_it() -> None:
    """The rest of the item may be as large as it wants."""
    world = behind(table(100, GlobalSecondaryIndexes=[index(2, "INCLUDE", "note")]))
    statuses = [(await put(world, customer={"S": "c"}, text=TWO_KB)).status for _ in range(3)]
    assert statuses == [200, 200, 400]
    world.now += 1
    assert [(await put(world, customer={"S": "c"}, note=TWO_KB)).status for _ in range(2)] == [200, 400]


@pytest.mark.rule("dynamodb.debt")
@pytest.mark.parametrize(
    ("operation", "more", "returned"),
    [
        ("UpdateItem", {"Key": item("a"), "UpdateExpression": "SET n = :n"}, "ALL_NEW"),
        ("DeleteItem", {"Key": item("a")}, "ALL_OLD"),
        ("PutItem", {"Item": item("a")}, "ALL_OLD"),
    ],
)
async def test_the_size_of_an_item_that_is_known_too_late_is_owed(
    operation: str, more: dict[str, Any], returned: str
) -> None:
    """The emulator is asked for the item, which the client, who did not ask, does not get to see."""
    world = behind(table(1))
    world.answers[operation] = {"Attributes": item("a", text={"S": "x" * 4000})}
    reply, answer = await world.ask("dynamodb", operation, TableName="orders", **more)
    assert (reply.status, answer) == (200, {})
    assert world.sent[0][1]["ReturnValues"] == returned
    world.now += 3.9
    assert (await put(world)).status == 400
    world.now += 0.1
    assert (await put(world)).status == 200


async def test_what_a_client_asks_to_be_returned_it_gets() -> None:
    """As it came."""
    world = behind(table(1))
    world.answers["UpdateItem"] = {"Attributes": {"n": {"N": "1"}}}
    asked = {"TableName": "orders", "Key": item("a"), "ReturnValues": "UPDATED_NEW"}
    _, answer = await world.ask("dynamodb", "UpdateItem", **asked)
    assert answer == world.answers["UpdateItem"]
    assert world.sent == [("UpdateItem", asked)]


async def test_an_update_pays_in_the_indexes_that_hold_what_it_writes() -> None:
    """Others do not notice, not even those that owe."""
    description = table(100, GlobalSecondaryIndexes=[index(1, "INCLUDE", "note")])
    world = behind(description)
    world.answers["UpdateItem"] = {"Attributes": item("a", customer={"S": "c"}, note=TWO_KB)}

    async def update(expression: str) -> int:
        names = {"#n": "note"}
        reply, _ = await world.ask(
            "dynamodb", "UpdateItem", TableName="orders", Key=item("a"), UpdateExpression=expression,
            ExpressionAttributeNames=names,
        )  # fmt: skip
        return reply.status

    assert [await update("SET other = :v"), await update("SET #n = :v")] == [200, 200]
    assert [await update("SET #n = :v"), await update("SET other = :v")] == [400, 200]


async def test_an_index_of_everything_notices_every_update() -> None:
    """Its projection has no names."""
    world = behind(table(100, GlobalSecondaryIndexes=[index(1)]))
    world.answers["UpdateItem"] = {"Attributes": item("a", customer={"S": "c"}, note=TWO_KB)}
    update = {"TableName": "orders", "Key": item("a"), "UpdateExpression": "SET other = :v"}
    statuses = [(await world.ask("dynamodb", "UpdateItem", **update))[0].status for _ in range(2)]
    assert statuses == [200, 400]


@pytest.mark.rule("dynamodb.reads")
async def test_reads_cost_by_what_they_return() -> None:
    """4 KB are a unit, or half of one where the read is eventually consistent."""
    world = behind(table(3))
    world.answers["GetItem"] = {"Item": item("a", text={"S": "x" * 8000})}
    world.answers["Query"] = {"Items": [item("a", text={"S": "x" * 4500})], "Count": 1, "ScannedCount": 2}

    async def statuses(operation: str, **more: Any) -> list[int]:
        world.now += 60
        return [(await world.ask("dynamodb", operation, TableName="orders", **more))[0].status for _ in range(4)]

    assert await statuses("GetItem", Key=item("a"), ConsistentRead=True) == [200, 200, 400, 400]
    assert await statuses("GetItem", Key=item("a")) == [200, 200, 200, 400]
    query = {"KeyConditionExpression": "id = :i", "ExpressionAttributeValues": {":i": {"S": "a"}}}
    assert await statuses("Query", **query, ConsistentRead=True) == [200, 400, 400, 400]  # 3 units each


async def test_a_query_is_held_to_its_partition_and_to_its_index() -> None:
    """A scan has no partition."""
    world = behind(table(100, GlobalSecondaryIndexes=[index(1)]), partition_read_units=0.5)
    query = {"KeyConditionExpression": "#k = :i", "ExpressionAttributeValues": {":i": {"S": "a"}}}
    names = {"ExpressionAttributeNames": {"#k": "id"}}
    statuses = [(await world.ask("dynamodb", "Query", TableName="orders", **query, **names))[0] for _ in range(2)]
    assert [reply.status for reply in statuses] == [200, 400]
    assert (await world.ask("dynamodb", "Scan", TableName="orders"))[0].status == 200
    scans = [(await world.ask("dynamodb", "Scan", TableName="orders", IndexName="by-customer"))[0] for _ in range(3)]
    assert [reply.status for reply in scans] == [200, 200, 400]


@pytest.mark.rule("dynamodb.batch-write")
async def test_what_a_batch_has_no_capacity_for_comes_back() -> None:
    """In order and by table; what the emulator itself left over comes first. Nothing at all is an error."""
    world = behind(table(2))
    world.described["DescribeTable", "other"] = {"Table": table(1, TableArn=ARN + "-2")}
    requests = [{"PutRequest": {"Item": item(id_)}} for id_ in "abc"]
    world.answers["BatchWriteItem"] = {"UnprocessedItems": {"orders": requests[1:2]}}
    batch = {"RequestItems": {"orders": requests, "other": [{"DeleteRequest": {"Key": item("z")}}]}}
    reply, answer = await world.ask("dynamodb", "BatchWriteItem", **batch)
    assert (reply.status, reply.cause) == (200, LIMIT)
    assert world.sent[0][1]["RequestItems"] == {"orders": requests[:2], "other": batch["RequestItems"]["other"]}
    assert answer["UnprocessedItems"] == {"orders": requests[1:]}
    reply, answer = await world.ask("dynamodb", "BatchWriteItem", RequestItems={"orders": requests})
    assert (reply.status, reply.error) == (400, PROVISIONED)
    assert len(world.sent) == 1


async def test_a_batch_within_its_capacity_goes_on_as_it_came() -> None:
    """Its answer too."""
    world = behind(table(5))
    batch = {"RequestItems": {"orders": [{"PutRequest": {"Item": item("a")}}]}}
    reply, answer = await world.ask("dynamodb", "BatchWriteItem", **batch)
    assert (reply.cause, answer, world.sent) == (None, {}, [("BatchWriteItem", batch)])


@pytest.mark.rule("dynamodb.batch-get")
async def test_keys_that_there_is_no_capacity_for_come_back() -> None:
    """With what they were asked with; the size of what was found is owed."""
    world = behind(table(2))
    world.answers["BatchGetItem"] = {"Responses": {"orders": [item("a", text={"S": "x" * 8000})]}}
    keys = [item(id_) for id_ in "abc"]
    order = {"ConsistentRead": True, "ProjectionExpression": "id"}
    reply, answer = await world.ask("dynamodb", "BatchGetItem", RequestItems={"orders": {"Keys": keys, **order}})
    assert (reply.status, reply.cause) == (200, LIMIT)
    assert world.sent[0][1]["RequestItems"] == {"orders": {"Keys": keys[:2], **order}}
    assert answer["UnprocessedKeys"] == {"orders": {"Keys": keys[2:], **order}}
    world.now += 0.9  # 2 were taken and 1 more is owed
    reply, _ = await world.ask("dynamodb", "BatchGetItem", RequestItems={"orders": {"Keys": keys, **order}})
    assert (reply.status, reply.error) == (400, PROVISIONED)


@pytest.mark.rule("dynamodb.transactions")
async def test_a_transaction_without_capacity_is_cancelled_as_a_whole() -> None:
    """Twice the units; the reasons stand in the order of its actions, and nothing is used up."""
    world = behind(table(5))
    puts = [{"Put": {"TableName": "orders", "Item": item(id_)}} for id_ in "abc"]
    reply, answer = await world.ask("dynamodb", "TransactWriteItems", TransactItems=puts)
    assert (reply.error, reply.cause) == ("TransactionCanceledException", LIMIT)
    assert [reason["Code"] for reason in answer["CancellationReasons"]] == [
        "None",
        "None",
        "ProvisionedThroughputExceeded",
    ]
    assert answer["message"].endswith("[None, None, ProvisionedThroughputExceeded]")
    reply, _ = await world.ask("dynamodb", "TransactWriteItems", TransactItems=puts[:2])
    assert reply.status == 200
    assert [(await put(world)).status for _ in range(2)] == [200, 400]


@pytest.mark.rule("dynamodb.transactions")
async def test_transactions_that_read_owe_what_they_found() -> None:
    """Two units per 4 KB."""
    world = behind(table(2))
    world.answers["TransactGetItems"] = {"Responses": [{"Item": item("a", text={"S": "x" * 5000})}]}
    gets = {"TransactItems": [{"Get": {"TableName": "orders", "Key": item("a")}}]}
    assert (await world.ask("dynamodb", "TransactGetItems", **gets))[0].status == 200
    world.now += 1.9
    reply, answer = await world.ask("dynamodb", "TransactGetItems", **gets)
    assert (reply.status, answer["CancellationReasons"][0]["Code"]) == (400, "ProvisionedThroughputExceeded")


async def test_tables_are_described_once_until_they_change() -> None:
    """What is used up stays so unless the capacity changed; a new table of the same name is another one."""
    world = behind(table(1))
    await put(world)
    await put(world)
    assert world.reads == ["orders"]
    world.limits.changed("dynamodb", "UpdateTable", "orders")
    assert (await put(world)).status == 400
    world.described["DescribeTable", "orders"] = {"Table": table(2)}
    world.limits.changed("dynamodb", "UpdateTable", "orders")
    assert [(await put(world)).status for _ in range(3)] == [200, 200, 400]
    world.limits.changed("dynamodb", "CreateTable", "orders")
    assert (await put(world)).status == 200
    assert world.reads == ["orders"] * 4


@pytest.mark.parametrize(
    ("operation", "document"),
    [
        ("PutItem", {"TableName": "nowhere", "Item": item("a")}),
        ("PutItem", {"TableName": "orders"}),
        ("UpdateItem", {"TableName": "orders"}),
        ("GetItem", {"TableName": "orders", "Key": 7}),
        ("BatchWriteItem", {"RequestItems": {"orders": [{}]}}),
        ("BatchGetItem", {"RequestItems": {"orders": {}}}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {}}]}),
        ("Query", {"TableName": "orders", "KeyConditionExpression": "id = :missing"}),
        ("BatchGetItem", {"RequestItems": 7}),
    ],
)
async def test_what_is_malformed_is_for_the_emulator(operation: str, document: dict[str, Any]) -> None:
    """It says better what is wrong."""
    world = behind(table(1))
    reply, _ = await world.ask("dynamodb", operation, **document)
    assert (reply.status, world.sent) == (200, [(operation, document)])
