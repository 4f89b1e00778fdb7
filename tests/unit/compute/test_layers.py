"""Layers, on real processes: where AWS would have them under /opt."""

import base64
import hashlib
import io
import json
import stat
import sys
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from deployed import Emulator, serving

from testbed.compute.invoke import Compute

OWN_PYTHON = "python{}.{}".format(*sys.version_info)


class LayeredEmulator(Emulator):
    """Functions and layers in memory."""

    def publish(self, name: str, files: dict[str, str]) -> str:
        """A layer; its ARN."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in files.items():
                entry = zipfile.ZipInfo(path)
                entry.external_attr = (stat.S_IFREG | 0o755) << 16
                archive.writestr(entry, text)
        self.archives[name] = buffer.getvalue()
        return f"arn:aws:lambda:us-east-1:000000000000:layer:{name}:1"

    async def call(self, service: str, operation: str, params: dict[str, Any], *, caller: str) -> dict[str, Any]:
        """Layers too."""
        if operation != "GetLayerVersionByArn":
            return await super().call(service, operation, params, caller=caller)
        name = params["Arn"].split(":")[-2]
        sha256 = base64.b64encode(hashlib.sha256(self.archives[name]).digest()).decode()
        return {"Content": {"Location": f"{self.url}/{name}", "CodeSha256": sha256}}


@pytest_asyncio.fixture
async def emulator() -> AsyncIterator[LayeredEmulator]:
    """Functions and layers in memory."""
    emulator = LayeredEmulator()
    async with serving(emulator):
        yield emulator


async def answer(compute: Compute) -> Any:
    result = await compute.invoke("orders", b"", caller="client")
    assert result.cause is None, result.log_tail
    return json.loads(result.payload)


@pytest.mark.rule("layers.order")
async def test_modules_are_found_in_the_package_then_in_the_layers(emulator: LayeredEmulator, compute: Compute) -> None:
    """Of two layers with the same file the later one wins; the version's own folder comes before the common one."""
    site_packages = f"python/lib/{OWN_PYTHON}/site-packages"
    first = {"python/a.py": "where = 'first'", "python/b.py": "where = 'first'", "python/c.py": "where = 'first'"}
    second = {
        "python/b.py": "where = 'second'",
        f"{site_packages}/d.py": "where = 'version'",
        "python/d.py": "where = 2",
    }
    layers = [{"Arn": emulator.publish("first", first)}, {"Arn": emulator.publish("second", second)}]
    source = "import a, b, c, d\ndef handler(event, context): return [a.where, b.where, c.where, d.where]"
    emulator.deploy("orders", source, files={"c.py": "where = 'package'"}, Layers=layers, Runtime=OWN_PYTHON)
    assert await answer(compute) == ["first", "second", "package", "version"]


@pytest.mark.rule("layers.order")
async def test_a_library_in_a_layer_wins_over_the_preloaded_one(emulator: LayeredEmulator, compute: Compute) -> None:
    """As on AWS, where the runtime's own boto3 comes last."""
    layers = [{"Arn": emulator.publish("sdk", {"python/boto3.py": "where = 'layer'"})}]
    emulator.deploy("orders", "import boto3\ndef handler(event, context): return boto3.where", Layers=layers)
    assert await answer(compute) == "layer"


@pytest.mark.rule("layers.programs")
async def test_programs_of_a_layer_are_on_the_path(emulator: LayeredEmulator, compute: Compute) -> None:
    """A tool in bin, by its name."""
    layers = [{"Arn": emulator.publish("tools", {"bin/tell": "#!/bin/sh\necho told"})}]
    source = "import subprocess\ndef handler(event, context): return subprocess.check_output(['tell'], text=True)"
    emulator.deploy("orders", source, Layers=layers)
    assert await answer(compute) == "told\n"


@pytest.mark.rule("layers.programs")
async def test_a_bootstrap_may_be_in_a_layer(emulator: LayeredEmulator, compute: Compute) -> None:
    """It is started in the folder of the function's code; one in the package would come first."""
    bootstrap = f"""#!{sys.executable} -I
import json, os, urllib.request
api = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2018-06-01/runtime/invocation"
while True:
    with urllib.request.urlopen(f"{{api}}/next") as answer:
        request = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(f"{{api}}/{{request}}/response", json.dumps(os.listdir()).encode()).close()
"""
    layers = [{"Arn": emulator.publish("runtime", {"bootstrap": bootstrap})}]
    emulator.deploy("orders", "", Layers=layers, Runtime="provided.al2023")
    assert await answer(compute) == ["app.py"]
