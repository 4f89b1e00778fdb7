"""Names of images, and which of them need a token."""

import os

import pytest

from testbed.engine.images import Images, needs_token
from testbed.errors import UsageError


@pytest.mark.parametrize(
    ("image", "needed"),
    [
        ("localstack/localstack:4.14.0", False),
        ("localstack/localstack:4.14.1.dev3", False),
        ("localstack/localstack:4.14", False),
        ("localstack/localstack:4", False),
        ("localstack/localstack:3.8.1-arm64", False),
        ("localstack/localstack:v4.9.2", False),
        ("localstack/localstack:4.15.0", True),
        ("localstack/localstack:5", True),
        ("localstack/localstack:2026.3.0", True),
        ("localstack/localstack:latest", True),
        ("localstack/localstack:stable", True),
        ("localstack/localstack:s3-latest", True),
        ("localstack/localstack", True),
        ("localstack/localstack@sha256:0123", True),
        ("localstack/localstack:4.14.0@sha256:0123", False),
        ("localstack/localstack-pro:4.14.0", True),
        ("localstack/localstack-pro", True),
        ("localstack/lambda-python:latest", False),
        ("docker.io/localstack/localstack:2026.4", True),
        ("docker.io/localstack/localstack:4.14.0", False),
        ("registry.example/localstack/localstack:4.14.0", False),
        ("registry.example/mirror/localstack:4.15.0", True),
        ("registry.example:5000/localstack:latest", True),
        ("localhost/localstack-pro:1", True),
        ("registry.example/ourstack:latest", False),
        ("docker.io/acme/localstack:latest", False),
        ("testbed/localstack:latest", False),
        ("localstack:latest", False),
    ],
)
def test_an_image_needs_a_token_by_edition_and_version(image: str, needed: bool) -> None:
    """The paid edition, versions after 4.14, tags that may be such a version; mirrors too, names of one's own not."""
    assert needs_token(image) == needed


def test_without_the_token_the_image_is_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with it, it is taken."""
    monkeypatch.setenv("TESTBED_LOCALSTACK_IMAGE", "localstack/localstack:latest")
    monkeypatch.delenv("LOCALSTACK_AUTH_TOKEN", raising=False)
    with pytest.raises(UsageError, match="localstack/localstack:latest does not start without") as refused:
        Images.chosen().check_token()
    assert "TESTBED_LOCALSTACK_IMAGE=localstack/localstack:4.14.0" in refused.value.hint
    assert "set LOCALSTACK_AUTH_TOKEN" in refused.value.hint
    monkeypatch.setenv("LOCALSTACK_AUTH_TOKEN", "ls-1")
    images = Images.chosen()
    images.check_token()
    assert images.token == os.environ["LOCALSTACK_AUTH_TOKEN"]


def test_the_usual_images_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no variable names others."""
    for variable in ("TESTBED_LOCALSTACK_IMAGE", "TESTBED_POSTGRES_IMAGE", "LOCALSTACK_AUTH_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    images = Images.chosen()
    images.check_token()
    assert images == Images("localstack/localstack:4.14.0", "postgres:16-alpine")


def test_testcontainers_prefix_goes_before_names_of_docker_hub_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a registry is complete."""
    monkeypatch.setenv("TESTCONTAINERS_HUB_IMAGE_NAME_PREFIX", "mirror.example/")
    monkeypatch.setenv("TESTBED_LOCALSTACK_IMAGE", "registry.example/localstack:4.14.0")
    monkeypatch.delenv("TESTBED_POSTGRES_IMAGE", raising=False)
    images = Images.chosen()
    assert images.localstack == "registry.example/localstack:4.14.0"
    assert images.postgres == "mirror.example/postgres:16-alpine"
