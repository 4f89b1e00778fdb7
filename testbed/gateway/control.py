"""The testbed's own routes on the gateway: how the command and the emulator's plugin talk to the plane."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from testbed.errors import TestbedError
from testbed.gateway import localstack_chaos
from testbed.gateway.added_faults import AddedFaults, ChaosRoute
from testbed.gateway.client import TOKEN_HEADER
from testbed.gateway.localstack_chaos import LocalStackChaos
from testbed.gateway.message import Inbound, Reply
from testbed.gateway.plane import Plane
from testbed.gateway.wire import json_reply
from testbed.semantics.profiles import Profile

PREFIX: Final = "/_testbed/"
PREFIXES: Final = (PREFIX, localstack_chaos.PATH)
"""What the paths begin with that are answered here."""

NO_TOKEN: Final = {"message": "the token of the run is missing or wrong"}
_PIECE_BYTES: Final = 1 << 18

_log: Final = logging.getLogger(__name__)
_Answer = dict[str, Any]


def has_token(request_headers: Mapping[str, str], token: bytes) -> bool:
    """Whether a request tells the secret of the run; how long that takes says nothing about it."""
    return hmac.compare_digest(request_headers.get(TOKEN_HEADER, "").encode(errors="replace"), token)


class Control:
    """Answers ``/_testbed/...`` and LocalStack's Chaos API; all but that and the health needs the run's token.

    Args:
        plane: What is controlled.
        token: Secret of the run.
    """

    def __init__(self, plane: Plane, token: str) -> None:
        self._plane = plane
        self._token = token.encode()
        self._added = AddedFaults(plane, plane.gateway.faults.journal_fault)
        self._chaos = ChaosRoute(self._added, plane)
        self._localstack_chaos = LocalStackChaos(self._added)
        self._routes: Mapping[str, Callable[[_Answer], Awaitable[_Answer]]] = {
            "connect": self._connect,
            "cut": self._cut,
            "mend": self._mend,
            "changed": self._changed,
            "profile": self._profile,
            "quotas": self._quotas,
            "provisioned": self._provisioned,
            "delivery": self._delivery,
            "begin": self._begin,
            "end": self._end,
            "note": self._note,
            "flush": self._flush,
            "status": self._status,
            "measured": self._measured,
            "death": self._death,
            "about": self._about,
            "clock": self._clock,
            "lease": self._lease,
            "renew": self._renew,
            "release": self._release,
            "reach": self._reach,
        }

    async def handle(self, request: Inbound) -> Reply:
        """Answer one request."""
        if request.path.startswith(localstack_chaos.PATH):
            return self._localstack_chaos.handle(request)
        name = request.path.removeprefix(PREFIX)
        if name == "health":
            return json_reply(200, {"status": "ok"})
        if not has_token(request.headers, self._token):
            return json_reply(403, NO_TOKEN)
        if name not in self._routes:
            return self._answered_otherwise(name, request)
        try:
            order = json.loads(request.body or b"{}")
        except ValueError as error:
            return json_reply(400, {"message": f"the body is not JSON: {error}"})
        return await self._carried_out(name, order)

    def _answered_otherwise(self, name: str, request: Inbound) -> Reply:
        """The routes that do not take an order and answer with a document."""
        if name == "journal":
            return self._journal()
        if name.partition("/")[0] == "chaos":
            return self._chaos.handle(request)
        return json_reply(404, {"message": f"no such route: {request.path}"})

    async def _carried_out(self, name: str, order: _Answer) -> Reply:
        """What the route answers; whatever goes wrong is an answer too: a dropped connection explains nothing."""
        try:
            return json_reply(200, await self._routes[name](order))
        except TestbedError as error:
            return json_reply(400, {"message": f"{error.message}; {error.hint}" if error.hint else error.message})
        except Exception as error:  # noqa: BLE001 - told and logged
            _log.exception("%s failed", name)
            return json_reply(500, {"message": f"{name} failed: {type(error).__name__}: {error}"})

    async def _connect(self, order: _Answer) -> _Answer:
        return {"port": await self._plane.connect(order["emulator_url"], order["host"], order["port"], order["admin"])}

    async def _cut(self, order: _Answer) -> _Answer:
        self._plane.cut(order.get("part"))
        return {}

    async def _mend(self, order: _Answer) -> _Answer:
        await self._plane.mend(order.get("part"))
        return {}

    async def _changed(self, order: _Answer) -> _Answer:
        await self._plane.changed(order["service"], order["operation"], order.get("resource") or "")
        return {}

    async def _profile(self, order: _Answer) -> _Answer:
        await self._plane.use(Profile.from_json(order["profile"]))
        return {}

    async def _quotas(self, _: _Answer) -> _Answer:
        """What the plugin checks reservations against."""
        limits = self._plane.compute.limits
        return {"account": limits.account_concurrency, "minimum_unreserved": limits.minimum_unreserved}

    async def _provisioned(self, order: _Answer) -> _Answer:
        return {"versions": self._plane.compute.provisioned(order["function"])}

    async def _delivery(self, order: _Answer) -> _Answer:
        return {"delivered": await self._plane.deliveries.accept(order)}

    async def _begin(self, order: _Answer) -> _Answer:
        await self._plane.begin(order)
        return {}

    async def _end(self, _: _Answer) -> _Answer:
        return await self._plane.end()

    async def _note(self, order: _Answer) -> _Answer:
        """Writes down that a fault began or ended which happens elsewhere."""
        self._plane.journal.record("fault", fault=order["fault"], event=order["event"])
        return {}

    async def _flush(self, _: _Answer) -> _Answer:
        """Answers when CloudWatch has all that has happened until now."""
        return {"published": await self._plane.observability.flush()}

    async def _death(self, _: _Answer) -> _Answer:
        """Answers when the fork server has died, and not before."""
        death = await asyncio.shield(self._plane.death)
        return {"part": death.part, "how": death.how, "log_tail": death.log_tail}

    async def _status(self, _: _Answer) -> _Answer:
        return self._plane.status()

    async def _measured(self, _: _Answer) -> _Answer:
        return await self._plane.measured()

    def _journal(self) -> Reply:
        """What was recorded, for a run that gave no path of its own."""
        if not self._plane.own_journal.exists():
            return Reply(200)
        return Reply(200, stream=_pieces(self._plane.own_journal))

    async def _about(self, _: _Answer) -> _Answer:
        return await self._plane.about()

    async def _clock(self, _: _Answer) -> _Answer:
        """The clock that ``begin`` means with ``zero``."""
        return {"now": time.monotonic()}

    async def _lease(self, order: _Answer) -> _Answer:
        known = await self._plane.lease.take(order["run"])
        if known is not None:
            self._added.forget()
        return {"granted": known is not None, "known": known}

    async def _renew(self, order: _Answer) -> _Answer:
        return {"held": self._plane.lease.renew(order["run"]), "lost_part": await self._plane.lost_part()}

    async def _release(self, order: _Answer) -> _Answer:
        return {"left": await self._plane.lease.give_back(order["run"])}

    async def _reach(self, order: _Answer) -> _Answer:
        return {"problem": await self._plane.reach(order["dsn"])}


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
