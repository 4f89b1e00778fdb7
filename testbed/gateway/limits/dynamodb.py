"""DynamoDB refuses what its tables and indexes do not take: items of a batch, and else whole calls.

What an item costs follows from its size, which is known before the call only for an item that is put. For the others
at least one unit has to be there, and the rest is owed: AWS does the same. Approximations: a deletion within a batch
and an update within a transaction cost the least; a Query or Scan costs what its answer shows, so that items which a
filter leaves out count as the average of the others, and a page without items as one read. PartiQL passes unlimited.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from testbed.compute.aws import AwsCaller
from testbed.gateway.classify import Target, resource_name
from testbed.gateway.limits.dynamodb_errors import cancelled, throttled
from testbed.gateway.limits.read_once import ReadOnce
from testbed.gateway.limits.tables import Charge, Item, Table, read_charge, table_of, touched_by
from testbed.gateway.limits.wire import LIMIT, Forward, answer_of, document_of, put_back, rewritten, with_answer
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.wire import error_reply
from testbed.semantics.dynamodb_capacity import DynamoDbProfile, Limit, item_size

_CALLER: Final = "testbed"
_NEW: Final = frozenset({"CreateTable", "DeleteTable"})
_WHOLE_ITEM: Final = {"PutItem": "ALL_OLD", "UpdateItem": "ALL_NEW", "DeleteItem": "ALL_OLD"}
_MALFORMED: Final = (KeyError, ValueError, TypeError, AttributeError)

Refusal = tuple[Charge, Limit]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way.

    Attributes:
        target: What it is.
        request: As it came.
        forward: Sends a request on.
        document: Its members.
        tables: What is known of its tables, by the names that it has for them.
    """

    target: Target
    request: Inbound
    forward: Forward
    document: dict[str, Any]
    tables: Mapping[str, Table]

    @property
    def table(self) -> Table:
        """The one table of a call that has one."""
        return self.tables[self.document["TableName"]]

    async def send(self, document: Mapping[str, Any] | None = None) -> Reply:
        """Send it on, with other members where they are given."""
        request = self.request if document is None else rewritten(self.request, document)
        return await self.forward(request, self.target)

    def refused(self, refusal: Refusal) -> Reply:
        """The answer to a call that is refused as a whole."""
        return error_reply(throttled(*refusal), self.target, self.request, cause=LIMIT)


class DynamoDbLimits:
    """The tables of the emulator.

    Args:
        aws: Describes tables, past faults and journal.
        profile: The numbers.
        clock: Seconds of a clock that never goes back.

    Attributes:
        operations: What is limited.
    """

    def __init__(self, aws: AwsCaller, profile: DynamoDbProfile, clock: Callable[[], float]) -> None:
        self._aws = aws
        self._profile = profile
        self._clock = clock
        self._tables = ReadOnce(self._describe)
        self._before: dict[str, Table] = {}
        self._answers: Mapping[str, Callable[[_Call], Awaitable[Reply]]] = {
            "PutItem": self._write,
            "UpdateItem": self._write,
            "DeleteItem": self._write,
            "GetItem": self._get,
            "Query": self._read_page,
            "Scan": self._read_page,
            "BatchWriteItem": self._batch_write,
            "BatchGetItem": self._batch_get,
            "TransactWriteItems": self._transact,
            "TransactGetItems": self._transact,
        }
        self.operations = self._answers.keys()

    async def execute(self, target: Target, request: Inbound, forward: Forward) -> Reply:
        """Answer one call of `operations`; one that is malformed, or of an unknown table, is for the emulator."""
        document = document_of(request.body)
        try:
            tables = {name: await self._tables.get(resource_name(name)) for name in _table_names(document)}
        except _MALFORMED:
            tables = {}
        known = {name: table for name, table in tables.items() if table}
        if not known or len(known) < len(tables):
            return await forward(request, target)
        return await self._answers[target.operation](_Call(target, request, forward, document, known))

    def use(self, profile: DynamoDbProfile) -> None:
        """Go by other numbers, with tables of which nothing is used up."""
        self._profile = profile
        self.restart()

    def restart(self) -> None:
        """Forget what was used up so far."""
        self._before.clear()
        self._tables.forget()

    def changed(self, operation: str, table: str) -> None:
        """A table was changed; without a name, all may have been."""
        self._tables.forget(table)
        if not table:
            self._before.clear()
        elif operation in _NEW:
            self._before.pop(table, None)

    async def _describe(self, name: str) -> Table | None:
        answer = await self._aws.call("dynamodb", "DescribeTable", {"TableName": name}, caller=_CALLER)
        if "Table" not in answer:
            return None
        self._before[name] = table_of(answer["Table"], self._profile, self._before.get(name))
        return self._before[name]

    def _take(self, charges: list[Charge]) -> Refusal | None:
        """Use all of ``charges`` up, or nothing: then what is in the way."""
        now = self._clock()
        for index, charge in enumerate(charges):
            if limit := charge.exceeded(now):
                for taken in charges[:index]:
                    taken.take(now, -1)
                return charge, limit
            charge.take(now)
        return None

    def _owe(self, charges: list[Charge]) -> None:
        """Use up what was known too late to refuse it."""
        now = self._clock()
        for charge in charges:
            charge.take(now)

    async def _write(self, call: _Call) -> Reply:
        operation, document, table = call.target.operation, call.document, call.table
        touched = touched_by(document) if operation == "UpdateItem" else None
        try:
            charges = table.put(document["Item"]) if operation == "PutItem" else table.change(document["Key"], touched)
        except _MALFORMED:
            return await call.send()
        if refusal := self._take(charges):
            return call.refused(refusal)
        hidden = document.get("ReturnValues", "NONE") == "NONE"
        reply = await call.send({**document, "ReturnValues": _WHOLE_ITEM[operation]} if hidden else None)
        answer = await answer_of(reply)
        if answer is None:
            return reply
        if item := answer.get("Attributes"):
            put = operation == "PutItem"
            self._owe(table.replaced(item, document["Item"]) if put else table.changed(item, touched))
            if hidden:
                del answer["Attributes"]
                with_answer(reply, answer)
        return reply

    async def _get(self, call: _Call) -> Reply:
        consistent = bool(call.document.get("ConsistentRead"))
        try:
            least = _read(call.table, call.document["Key"], {}, consistent=consistent)
        except _MALFORMED:
            return await call.send()
        if refusal := self._take([least]):
            return call.refused(refusal)
        reply = await call.send()
        if answer := await answer_of(reply):
            whole = _read(call.table, call.document["Key"], answer.get("Item", {}), consistent=consistent)
            self._owe([_rest(whole, least)])
        return reply

    async def _read_page(self, call: _Call) -> Reply:
        document = call.document
        place = call.table.reading(document.get("IndexName"))
        consistent = bool(document.get("ConsistentRead"))
        try:
            key = place.queried_partition(document)
        except _MALFORMED:
            return await call.send()
        least = read_charge(place, 0, key, consistent=consistent, transactional=False)
        if refusal := self._take([least]):
            return call.refused(refusal)
        reply = await call.send()
        if (answer := await answer_of(reply)) and (items := answer.get("Items")):
            size = sum(map(item_size, items)) * max(1.0, answer.get("ScannedCount", 0) / len(items))
            whole = read_charge(place, int(size), key, consistent=consistent, transactional=False)
            self._owe([_rest(whole, least)])
        return reply

    async def _batch_write(self, call: _Call) -> Reply:
        def cost(table: Table, entry: Mapping[str, Any]) -> list[Charge]:
            if "PutRequest" in entry:
                return table.put(entry["PutRequest"]["Item"])
            return table.change(entry["DeleteRequest"]["Key"], None)

        items: dict[str, list[Any]] = call.document["RequestItems"]
        try:
            costs = {name: [cost(call.tables[name], entry) for entry in entries] for name, entries in items.items()}
        except _MALFORMED:
            return await call.send()
        taken, left, refusal = self._divide(items, costs)
        if refusal is None:
            return await call.send()
        if not taken:
            return call.refused(refusal)
        reply = await call.send({**call.document, "RequestItems": taken})
        if (answer := await answer_of(reply)) is not None:
            put_back(answer, left)
            with_answer(reply, answer)
            reply.cause = LIMIT
        return reply

    async def _batch_get(self, call: _Call) -> Reply:
        items: dict[str, dict[str, Any]] = call.document["RequestItems"]
        try:
            keys = {name: order["Keys"] for name, order in items.items()}
            costs = {name: [[_of_batch(call, name, key, {})] for key in order["Keys"]] for name, order in items.items()}
        except _MALFORMED:
            return await call.send()
        taken, left, refusal = self._divide(keys, costs)
        if refusal is not None and not taken:
            return call.refused(refusal)
        asked = {name: {**items[name], "Keys": some} for name, some in taken.items()}
        reply = await call.send({**call.document, "RequestItems": asked} if left else None)
        if (answer := await answer_of(reply)) is None:
            return reply
        for name, found in answer.get("Responses", {}).items():
            for item in found:
                self._owe([_rest(_of_batch(call, name, item, item), _of_batch(call, name, item, {}))])
        if left:
            unprocessed = answer.setdefault("UnprocessedKeys", {})
            for name, some in left.items():
                unprocessed[name] = {**items[name], "Keys": unprocessed.get(name, {}).get("Keys", []) + some}
            with_answer(reply, answer)
            reply.cause = LIMIT
        return reply

    def _divide(
        self, items: Mapping[str, list[Any]], costs: Mapping[str, list[list[Charge]]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]], Refusal | None]:
        """Of a batch what is taken, what is left over, and the first reason for that; both by table and in order."""
        taken: dict[str, list[Any]] = {}
        left: dict[str, list[Any]] = {}
        first: Refusal | None = None
        for name, entries in items.items():
            for entry, charges in zip(entries, costs[name], strict=True):
                refusal = self._take(charges)
                first = first or refusal
                (left if refusal else taken).setdefault(name, []).append(entry)
        return taken, left, first

    async def _transact(self, call: _Call) -> Reply:
        """All or nothing: an item without capacity cancels the transaction, which SDKs do not retry."""
        try:
            costs = [_of_transaction(call, entry) for entry in call.document["TransactItems"]]
        except _MALFORMED:
            return await call.send()
        now = self._clock()
        refusals = [self._take(charges) for charges in costs]
        if any(refusals):
            for charges, refusal in zip(costs, refusals, strict=True):
                for charge in charges if not refusal else ():
                    charge.take(now, -1)
            return error_reply(cancelled(refusals), call.target, call.request, cause=LIMIT)
        reply = await call.send()
        if call.target.operation == "TransactGetItems" and (answer := await answer_of(reply)):
            for (least,), found in zip(costs, answer.get("Responses", ()), strict=False):
                size = item_size(found.get("Item", {}))
                whole = read_charge(least.capacity, size, least.key, consistent=True, transactional=True)
                self._owe([_rest(whole, least)])
        return reply


def _table_names(document: Mapping[str, Any]) -> set[str]:
    """The tables that a request names."""
    if "TableName" in document:
        return {document["TableName"]}
    if "TransactItems" in document:
        return {action["TableName"] for entry in document["TransactItems"] for action in entry.values()}
    return set(document.get("RequestItems", ()))


def _read(table: Table, key: Item, item: Item, *, consistent: bool) -> Charge:
    return read_charge(table.own, item_size(item), table.own.partition(key), consistent=consistent, transactional=False)


def _of_batch(call: _Call, name: str, key: Item, item: Item) -> Charge:
    """What one item of a BatchGetItem costs."""
    consistent = bool(call.document["RequestItems"][name].get("ConsistentRead"))
    return _read(call.tables[name], key, item, consistent=consistent)


def _of_transaction(call: _Call, entry: Mapping[str, Mapping[str, Any]]) -> list[Charge]:
    """What one action of a transaction costs."""
    ((kind, action),) = entry.items()
    table = call.tables[action["TableName"]]
    if kind == "Get":
        key = table.own.partition(action["Key"])
        return [read_charge(table.own, 0, key, consistent=True, transactional=True)]
    if kind == "Put":
        return table.put(action["Item"], transactional=True)
    touched = touched_by(action) if kind == "Update" else None if kind == "Delete" else frozenset[str]()
    return table.change(action["Key"], touched, transactional=True)


def _rest(whole: Charge, least: Charge) -> Charge:
    """What is still to be charged where ``least`` was."""
    return Charge(whole.capacity, whole.direction, whole.units - least.units, whole.key)
