"""A round trip to Postgres that faults have hit, or the opening of a session: how it passes, if it does.

Each fault is told once it has made a difference: see `testbed.chaos.call.Injection`.
"""

from typing import TYPE_CHECKING, Final

from testbed.chaos.call import Decision
from testbed.chaos.faults.postgres_connection import Vanished
from testbed.chaos.faults.slow_postgres import Paced
from testbed.chaos.faults.sql_error import SqlState
from testbed.gateway.postgres.statements import FAILURE, Ending, RoundTrip
from testbed.gateway.postgres.wire import CLIENT_SPEAKS, ERROR_RESPONSE, error_response

if TYPE_CHECKING:
    from testbed.gateway.postgres.proxy import PostgresProxy
    from testbed.gateway.postgres.server_side import ServerSide
    from testbed.gateway.postgres.session import Session

_FAILED_BLOCK: Final = b"E"
_NOTICED: Final = 0.001  # seconds


class Hit:
    """What a decision does to one round trip, or to the opening of a session.

    Args:
        decision: It.
        session: Whose round trip it is.
        server: Its connection to Postgres.
        proxy: Where the session is.
    """

    def __init__(self, decision: Decision, session: "Session", server: "ServerSide", proxy: "PostgresProxy") -> None:
        self._decision = decision
        self._answering = decision.answering
        self._session = session
        self._server = server
        self._proxy = proxy
        self._paced = [effect for effect in decision.effects if isinstance(effect, Paced)]
        self._slowed = 0.0  # seconds, by what limits the rate

    async def pass_on(self, trip: RoundTrip) -> None:
        """Pass a round trip on, or answer it."""
        answering = self._answering
        executes = answering is None or answering.executed
        with self._proxy.holding(executes):
            await self._wait(self._decision.delay)
            if executes:
                await self._pace(len(trip.data))
        if executes:
            if self._touches_answer:
                await self._pass_with_answer(trip)
            else:
                self._server.ask(trip.data)
        elif answering and isinstance(answering.answer, SqlState):
            await self._fail(trip, answering.answer)
        else:
            self._break()

    async def admits(self, startup: bytes) -> bool:
        """Whether the opening of a session reaches Postgres; else it is answered, and over."""
        answering = self._answering
        await self._wait(self._decision.delay)
        if answering is None or answering.executed:
            await self._pace(len(startup))
            return True
        if isinstance(answering.answer, SqlState):
            self._session.refuse("refused", answering.answer)
        else:
            self._proxy.note("refused", message="a fault broke the connection")
            self._break()
        return False

    async def open(self, startup: bytes) -> None:
        """Open a session that was admitted, on a connection to Postgres that is there."""
        if self._touches_answer:
            self._server.listen()
            self._server.write(startup)
            await self._pass_answer(Ending(None))
        else:
            self._server.write(startup)

    @property
    def _touches_answer(self) -> bool:
        return self._answering is not None or self._decision.delay_after > 0 or bool(self._paced)

    async def _pass_with_answer(self, trip: RoundTrip) -> None:
        """Pass a round trip on, and its answer back: late, slowly, or not at all."""
        await self._server.quiet()
        if self._server.skips and trip.is_flushed:
            self._server.ask(trip.data)  # there will be no answer
            return
        self._server.listen()
        self._server.ask(trip.with_end())
        await self._pass_answer(Ending(trip))

    async def _pass_answer(self, ending: Ending) -> None:
        answering = self._answering
        late = self._decision.delay_after
        while not ending.is_over:
            messages = await self._server.heard()
            passing = b"".join(
                data for kind, data in messages if ending.take(kind) and (answering is None or kind in CLIENT_SPEAKS)
            )
            await self._pace(len(passing))
            if answering is None:
                await self._wait(late)
                late = 0
            if passing:
                self._session.answer(passing)
            if any(kind in CLIENT_SPEAKS for kind, _ in messages):
                self._session.let_flow()
        self._session.flows = False
        if answering is None:
            self._server.let_through()
        else:
            answering.happened()
            await self._wait(late)
            self._session.reset()

    async def _fail(self, trip: RoundTrip, error: SqlState) -> None:
        """Answer a round trip with an error, and see to it that Postgres agrees."""
        await self._server.quiet()
        if error.fatal:
            self._failed()
            self._session.refuse("error", error)
            return
        commit = trip.operation == "Commit"
        if self._server.skips or (commit and self._server.status == _FAILED_BLOCK):
            self._server.ask(trip.data)
            return
        self._server.listen()
        self._server.ask(trip.failing())
        answer: list[tuple[int, bytes]] = []
        ended = False
        while not ended:
            for kind, data in await self._server.heard():
                if FAILURE in data and kind == ERROR_RESPONSE:
                    answer = trip.without_rollback(answer) if commit else answer
                    answer.append((kind, error_response(error.code, error.message)))
                    self._failed()
                    self._proxy.note("error", error.code, error.message)
                else:
                    answer.append((kind, data))
                ended = ended or kind == ERROR_RESPONSE
            if ended or not commit:
                self._session.answer(b"".join(data for _, data in answer))
                answer = []
        self._server.let_through()

    def _failed(self) -> None:
        if self._answering is not None:
            self._answering.happened()

    def _break(self) -> None:
        """End the session without a word: at once, or after a silence."""
        silences = [effect for effect in self._decision.effects if isinstance(effect, Vanished)]
        for effect in silences:
            effect.happened()
        if silences:
            self._proxy.swallow(self._session, sum(effect.seconds for effect in silences))
        else:
            self._session.reset()

    async def _pace(self, size: int) -> None:
        """Wait as long as so many bytes are on their way."""
        seconds = sum(size / effect.bytes_per_second for effect in self._paced)
        self._slowed += seconds
        if self._slowed >= _NOTICED:
            for effect in self._paced:
                effect.happened()
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._proxy.sleep(seconds)
