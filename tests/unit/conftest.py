"""A real Postgres, once for all tests that ask for it."""

from collections.abc import Iterator

import pytest
from postgres_server import Server, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Postgres with 8 connections, 5 of them for ordinary users."""
    with postgres(max_connections=8) as server:
        yield server
