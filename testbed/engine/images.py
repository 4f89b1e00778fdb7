"""Which container images the engine is made of, and which of them ask for a LocalStack token."""

import os
import re
from dataclasses import dataclass
from typing import Final

from testbed.errors import UsageError

LOCALSTACK_VARIABLE: Final = "TESTBED_LOCALSTACK_IMAGE"
POSTGRES_VARIABLE: Final = "TESTBED_POSTGRES_IMAGE"
TOKEN_VARIABLE: Final = "LOCALSTACK_AUTH_TOKEN"  # noqa: S105  # the name of a variable
LOCALSTACK: Final = "localstack/localstack:4.14.0"
POSTGRES: Final = "postgres:16-alpine"
_PREFIX_VARIABLE: Final = "TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX"
_LAST_FREE: Final = (4, 14)
_HUB: Final = frozenset({"docker.io", "index.docker.io"})


@dataclass(frozen=True, slots=True)
class Images:
    """Names of images, as Docker takes them.

    Attributes:
        localstack: LocalStack's.
        postgres: Postgres's.
        token: For LocalStack; empty where none is set.
    """

    localstack: str
    postgres: str
    token: str = ""

    @classmethod
    def chosen(cls) -> "Images":
        """Those that the environment names, else the usual ones."""
        return cls(
            with_prefix(os.environ.get(LOCALSTACK_VARIABLE) or LOCALSTACK),
            with_prefix(os.environ.get(POSTGRES_VARIABLE) or POSTGRES),
            os.environ.get(TOKEN_VARIABLE, ""),
        )

    def check_token(self) -> None:
        """Refuse an image that does not start without a token when there is none.

        Raises:
            UsageError: That is so.
        """
        if not self.token and needs_token(self.localstack):
            raise UsageError(
                f"the image {self.localstack} does not start without a LocalStack token",
                f"set {LOCALSTACK_VARIABLE}={LOCALSTACK}, the last one that needs none, or set {TOKEN_VARIABLE}",
            )


def with_prefix(image: str) -> str:
    """The name with Testcontainers' prefix for images of Docker Hub, where one is set; other registries keep theirs."""
    prefix = os.environ.get(_PREFIX_VARIABLE, "")
    return image if _registry(image) else prefix + image


def needs_token(image: str) -> bool:
    """Whether it is an image of LocalStack that asks for a token before it starts.

    The paid edition always did; the other one does since the versions after 4.14, which are named by year and month
    (LocalStack's announcement of the unified image, March 2026). A tag that names no version can be any of them. Images
    with names of one's own are not judged, mirrors in another registry are.
    """
    name = image.partition("@")[0]
    registry = _registry(name)
    path = name.removeprefix(f"{registry}/")
    repository, _, tag = path.partition(":")
    owner, _, product = repository.rpartition("/")
    if not (owner == "localstack" or (registry and registry not in _HUB)):
        return False
    version = re.match(r"v?(\d+)(?:\.(\d+))?", tag)
    numbers = tuple(int(number) for number in version.groups() if number) if version else None
    return product == "localstack-pro" or (product == "localstack" and (numbers is None or numbers > _LAST_FREE))


def _registry(image: str) -> str:
    """Host and port of the registry; empty for a name without one (the rule of Docker's reference format)."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else ""
