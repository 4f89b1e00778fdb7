"""How the command talks to the plane: settings at its start, and its control routes afterwards."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from testbed.errors import EngineDiedError, HarnessError, UsageError

SETTINGS_VARIABLE: Final = "TESTBED_PLANE_SETTINGS"
TOKEN_HEADER: Final = "x-testbed-token"  # noqa: S105 - a name, not a secret
_CLOCK_LOOKS: Final = 9
_READ_SECONDS: Final = 30.0
_OK: Final = 200
_FORBIDDEN: Final = 403


class PlaneClient:
    """Calls the control routes of a plane.

    Args:
        url: The gateway.
        token: Secret of the run.
    """

    def __init__(self, url: str, token: str) -> None:
        self._session = aiohttp.ClientSession(
            url, headers={TOKEN_HEADER: token}, timeout=aiohttp.ClientTimeout(total=120)
        )

    async def call(self, route: str, **order: Any) -> dict[str, Any]:
        """Call one route.

        Raises:
            UsageError: The token is not the plane's.
            HarnessError: The plane does not answer, or refuses.
        """
        try:
            async with self._session.post(f"/_testbed/{route}", json=order) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise HarnessError(f"the data plane does not answer: {error or type(error).__name__}") from error
        if response.status == _FORBIDDEN:
            raise UsageError(
                "the testbed does not take the token",
                "set TESTBED_TOKEN as `testbed up` says, or as for docker compose",
            )
        if response.status != _OK:
            raise HarnessError(f"the data plane refuses {route!r}: {answer.get('message', answer)}")
        return answer

    async def clock_offset(self) -> float:
        """What to add to `time.monotonic` of this process to get that of the plane, which may be another machine's.

        Half of a round trip is the most by which it can be wrong: the quickest of several is taken.
        """
        looks: list[tuple[float, float]] = []
        for _ in range(_CLOCK_LOOKS):
            asked = time.monotonic()
            now = (await self.call("clock"))["now"]
            answered = time.monotonic()
            looks.append((answered - asked, now - (asked + answered) / 2))
        _, offset = min(looks)
        return offset

    async def fetch_journal(self, path: Path) -> None:
        """Append to ``path`` what the plane has recorded for a run that gave it no path.

        Raises:
            HarnessError: The plane does not answer any more; what came until then is in the file.
            OSError: The file cannot be written.
        """
        patient = aiohttp.ClientTimeout(total=None, sock_read=_READ_SECONDS)
        with path.open("ab") as file:
            try:
                async with self._session.post("/_testbed/journal", json={}, timeout=patient) as response:
                    async for piece in response.content.iter_any():
                        file.write(piece)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise HarnessError(f"the journal is not complete: {error or type(error).__name__}") from error

    async def death(self) -> EngineDiedError:
        """Wait until the plane says that its fork server has died; for ever, should the plane itself die."""
        unlimited = aiohttp.ClientTimeout(total=None)
        try:
            async with self._session.post("/_testbed/death", json={}, timeout=unlimited) as response:
                return EngineDiedError(**await response.json())
        except aiohttp.ClientError:  # the plane is gone, which its parent sees
            never: asyncio.Future[EngineDiedError] = asyncio.get_running_loop().create_future()
            return await never

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
