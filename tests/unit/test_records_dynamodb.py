"""The ledger's reader of DynamoDB, against answers that botocore checks for their shape."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from testbed.errors import UsageError
from testbed.records import DynamoDbTable, Places

SCAN = {"TableName": "shop", "ConsistentRead": True}


@dataclass(frozen=True, kw_only=True)
class StubbedPlaces(Places):
    """Places whose DynamoDB is a stub."""

    dynamodb: Any

    def client(self, service: str) -> Any:
        assert service == "dynamodb"
        return self.dynamodb


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.Session("test", "test", region_name="us-east-1").client("dynamodb")
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def places(stub: Stubber) -> Places:
    return StubbedPlaces(emulator_url="", admin_dsn="", checkpoints={}, dynamodb=stub.client)


def test_every_page_of_a_table_counts(stub: Stubber) -> None:
    """Numbers are ids as well; an item without the attribute is nobody's order."""
    last = {"id": {"S": "o-1"}}
    stub.add_response("scan", {"Items": [{"id": {"S": "o-1"}}], "LastEvaluatedKey": last}, SCAN)
    stub.add_response("scan", {"Items": [{"id": {"N": "7"}}, {"key": {"S": "x"}}]}, SCAN | {"ExclusiveStartKey": last})
    assert DynamoDbTable("shop").ids(places(stub)) == Counter(["o-1", "7", ""])


def test_a_table_that_is_not_there_is_the_scenario_s_mistake(stub: Stubber) -> None:
    """It never counts as an empty one."""
    stub.add_client_error("scan", "ResourceNotFoundException")
    with pytest.raises(UsageError, match="table 'shop' does not exist"):
        DynamoDbTable("shop").ids(places(stub))
