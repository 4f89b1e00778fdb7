"""How the command talks to the plane: settings at its start, and its control routes afterwards."""

import asyncio
from typing import Any, Final

import aiohttp

from testbed.errors import EngineDiedError, HarnessError

SETTINGS_VARIABLE: Final = "TESTBED_PLANE_SETTINGS"
TOKEN_HEADER: Final = "x-testbed-token"  # noqa: S105 - a name, not a secret


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
            HarnessError: The plane does not answer, or refuses.
        """
        try:
            async with self._session.post(f"/_testbed/{route}", json=order) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise HarnessError(f"the data plane does not answer: {error or type(error).__name__}") from error
        if response.status != 200:  # noqa: PLR2004 - HTTP's "OK"
            raise HarnessError(f"the data plane refuses {route!r}: {answer.get('message', answer)}")
        return answer

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
