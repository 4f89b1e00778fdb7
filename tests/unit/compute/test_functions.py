"""Names of functions, and what can run here."""

import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from deployed import Emulator

from testbed.compute.aws import AwsCallError
from testbed.compute.functions import Functions, Reference, _unpack, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders", Reference("orders")),
        ("orders:live", Reference("orders", "live")),
        ("orders:$LATEST", Reference("orders", "$LATEST")),
        ("orders:7", Reference("orders", "7")),
        ("123456789012:function:orders", Reference("orders")),
        ("123456789012:function:orders:live", Reference("orders", "live")),
        ("function:orders", Reference("orders")),
        ("arn:aws:lambda:eu-west-1:000000000000:function:orders", Reference("orders")),
        ("arn:aws-cn:lambda:cn-north-1:000000000000:function:orders:live", Reference("orders", "live")),
    ],
)
def test_a_function_is_known_by_name_and_arn(text: str, expected: Reference) -> None:
    """Every form of the Invoke API leads to the same name and qualifier."""
    assert parse_reference(text) == expected


@pytest.mark.parametrize("text", ["", "a b", "arn:aws:sqs:us-east-1:000000000000:orders", "orders:", "orders:a:b"])
def test_what_is_no_function_is_said(text: str) -> None:
    """Anything else is an error that repeats it."""
    with pytest.raises(ValueError, match="neither a function's name nor its ARN"):
        parse_reference(text)


def test_a_qualifier_may_be_given_apart_but_not_twice() -> None:
    """The parameter fills in what the name leaves open, and must not contradict it."""
    assert parse_reference("orders", "live") == Reference("orders", "live")
    assert parse_reference("orders:live", "live") == Reference("orders", "live")
    with pytest.raises(ValueError, match="derived qualifier"):
        parse_reference("orders:live", "beta")


async def test_a_function_for_another_python_runs_with_one_warning(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named with both versions; one for the testbed's own Python, or with a bootstrap, is not."""
    functions = Functions(emulator, tmp_path)
    emulator.deploy("mine", "", Runtime="python{}.{}".format(*sys.version_info))
    emulator.deploy("other", "", Runtime="python3.99")
    emulator.deploy("own", "", Runtime="provided.al2023")
    for name in ("mine", "other", "own", "other"):
        assert (await functions.get(Reference(name))).has_bootstrap == (name == "own")
    assert [record.args[:2] for record in caplog.records] == [("other", "python3.99")]
    await functions.close()


def test_code_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    """A damaged archive leaves nothing that looks like code; programs stay executable."""
    good = tmp_path / "good.zip"
    program = zipfile.ZipInfo("bin/tool")
    program.external_attr = (stat.S_IFREG | 0o755) << 16
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr(program, "#!/bin/sh\n")
    _unpack(good.read_bytes(), tmp_path / "cache" / "a")
    assert os.access(tmp_path / "cache" / "a" / "bin" / "tool", os.X_OK)
    _unpack(good.read_bytes(), tmp_path / "cache" / "a")
    with pytest.raises(zipfile.BadZipFile):
        _unpack(b"no archive", tmp_path / "cache" / "b")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a"]


async def test_a_failed_read_is_not_remembered(emulator: Emulator, tmp_path: Path) -> None:
    """The next invoke asks again."""
    functions = Functions(emulator, tmp_path)
    with pytest.raises(AwsCallError):
        await functions.get(Reference("orders"))
    emulator.deploy("orders", "")
    assert (await functions.get(Reference("orders"))).name == "orders"
    await functions.close()


async def test_code_that_does_not_download_is_an_error_of_the_service(emulator: Emulator, tmp_path: Path) -> None:
    """Where the code should be there is nothing: said with its address."""
    functions = Functions(emulator, tmp_path)
    emulator.deploy("orders", "")
    emulator.url = "http://127.0.0.1:9"
    with pytest.raises(AwsCallError, match="did not load"):
        await functions.get(Reference("orders"))
    await functions.close()


async def test_a_function_whose_update_is_in_progress_is_read_again(emulator: Emulator, tmp_path: Path) -> None:
    """What is read in the middle of an update is used, not kept."""
    functions = Functions(emulator, tmp_path)
    emulator.deploy("orders", "", LastUpdateStatus="InProgress")
    await functions.get(Reference("orders"))
    emulator.deploy("orders", "", Timeout=7)
    assert (await functions.get(Reference("orders"))).timeout == 7
    await functions.close()
