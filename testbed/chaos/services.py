"""The names of the services whose calls faults can hit."""

from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

EVERY_SERVICE: Final = "*"
"""As the service of a fault: every one but Postgres, which is none of AWS's."""

_OF_THE_TESTBED: Final = frozenset({EVERY_SERVICE, "execute-api", "postgres"})


def misnamed(service: str) -> str:
    """Why faults see no calls of a service that is named so, and what may be meant; empty where there is one."""
    if service in _known():
        return ""
    near = get_close_matches(service.lower(), sorted(_known()), n=1)
    meant = f", as {near[0]!r} is" if near else ""
    return f"{service!r} is no service by botocore's names{meant} (EventBridge is 'events')"


@cache
def _known() -> frozenset[str]:
    """Each service has a folder of its own among botocore's models; botocore itself takes long to import."""
    botocore = find_spec("botocore")
    models = Path(str(botocore.origin if botocore else "")).parent / "data"
    return _OF_THE_TESTBED.union(path.name for path in models.iterdir() if path.is_dir())
