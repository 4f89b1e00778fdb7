"""Quotas of functions that Lambda checks when they are created and updated, and LocalStack does not.

Source: AWS Lambda developer guide, Lambda quotas; texts as Lambda writes them. LocalStack itself checks the 4 KB of the
environment variables.
"""

from collections.abc import Mapping
from typing import Any, Final

_QUOTAS: Final = {"Timeout": (1, 900), "MemorySize": (128, 10240)}
_STORAGE_MB: Final = (512, 10240)


def beyond_quota(request: Mapping[str, Any]) -> str | None:
    """The message of the ``ValidationException`` that Lambda answers ``request`` with; None for none."""
    values = {name: request.get(name) for name in _QUOTAS}
    problems = [_problem(name[0].lower() + name[1:], values[name], *_QUOTAS[name]) for name in _QUOTAS]
    storage = (request.get("EphemeralStorage") or {}).get("Size")
    found = [problem for problem in (*problems, _problem("ephemeralStorage.size", storage, *_STORAGE_MB)) if problem]
    if not found:
        return None
    plural = "s" if len(found) > 1 else ""
    return f"{len(found)} validation error{plural} detected: {'; '.join(found)}"


def _problem(member: str, value: int | None, least: int, most: int) -> str | None:
    if value is None or least <= value <= most:
        return None
    constraint = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
    return f"Value '{value}' at '{member}' failed to satisfy constraint: Member must have value {constraint}"
