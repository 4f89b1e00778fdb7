"""Which functions are deployed, and their code: read from the emulator once, and again when they change."""

import asyncio
import hashlib
import io
import logging
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from testbed.compute.aws import AwsCaller, AwsCallError
from testbed.compute.kept import kept

CALLER: Final = "compute"
"""Whom the plane's own reads of functions are made for."""
_log: Final = logging.getLogger(__name__)
_REFERENCE: Final = re.compile(
    r"(?:arn:(?P<partition>[\w-]+):lambda:(?P<region>[\w-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[\w-]+)(?::(?P<qualifier>\$LATEST|[\w-]+))?"
)
_DOWNLOAD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Reference:
    """A function as somebody names it.

    Attributes:
        name: Its name alone.
        qualifier: Version or alias; None for the unpublished version.
    """

    name: str
    qualifier: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A version of a function, ready to run.

    Attributes:
        name: Its name.
        version: ``"$LATEST"`` or a number.
        revision: Changes with every change of code or configuration.
        runtime: For example ``"python3.12"``, or ``"provided.al2023"``.
        handler: ``"module.function"``; what it means to a ``bootstrap`` is the bootstrap's affair.
        timeout: Seconds.
        memory_mb: Memory setting, in MB.
        variables: Its environment variables.
        log_format: ``"Text"`` or ``"JSON"``.
        code: Folder of its unpacked code.
        layers: Folder of its layers, one unpacked over the other, as ``/opt`` on AWS; None for none.
        dead_letter: ARN of the dead-letter queue of its asynchronous invokes, a queue or a topic.
        log_group: Its log group in CloudWatch Logs.
    """

    name: str
    version: str
    revision: str
    runtime: str
    handler: str
    timeout: float
    memory_mb: int
    variables: Mapping[str, str]
    log_format: str
    code: Path
    dead_letter: str | None = None
    layers: Path | None = None
    log_group: str = ""

    @property
    def has_bootstrap(self) -> bool:
        """Whether its package is its own runtime (AWS Lambda developer guide, Building a custom runtime)."""
        return self.runtime.startswith("provided")


def parse_reference(text: str, qualifier: str | None = None) -> Reference:
    """A function's name, partial ARN or ARN, each with or without a qualifier (AWS Lambda API reference, Invoke).

    Raises:
        ValueError: ``text`` is none of them, or its qualifier contradicts ``qualifier``.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is neither a function's name nor its ARN")
    derived = found["qualifier"]
    if derived and qualifier and derived != qualifier:
        raise ValueError("The derived qualifier from the function name does not match the specified qualifier.")
    return Reference(found["name"], derived or qualifier)


class NotActiveError(Exception):
    """The function is there, but in ``state`` it cannot be invoked."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class Functions:
    """The functions of the emulator, by name and qualifier.

    Args:
        aws: Reads them.
        cache: Folder for their unpacked code; may be shared, entries are named by their content.
        on_load: Told each version that was read, for the first time or again.

    Attributes:
        unread: Names of functions whose reserved concurrency is to be read, for the first time or again.
    """

    def __init__(
        self, aws: AwsCaller, cache: Path, on_load: Callable[[Function], None] = lambda _function: None
    ) -> None:
        self._aws = aws
        self._cache = cache
        self._on_load = on_load
        self._known: dict[Reference, asyncio.Task[Function]] = {}
        self.unread: set[str] = set()
        self._session: aiohttp.ClientSession | None = None

    async def get(self, reference: Reference) -> Function:
        """The function, from memory where it has not changed.

        Raises:
            AwsCallError: The emulator does not know it, or did not answer.
            NotActiveError: It is still being created.
        """
        return await kept(self._known, reference, lambda: self._load(reference))

    def invalidate(self, name: str) -> None:
        """Function ``name`` was created, changed or deleted: read it again."""
        for reference in [each for each in self._known if each.name == name]:
            del self._known[reference]
        self.unread.add(name)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self.unread.clear()

    async def reserved_concurrency(self, name: str) -> int | None:
        """The reserved concurrency of ``name``; None for none, and for a function that is gone.

        Raises:
            AwsCallError: The emulator did not answer.
        """
        try:
            answer = await self._aws.call("lambda", "GetFunctionConcurrency", {"FunctionName": name}, caller=CALLER)
        except AwsCallError as error:
            if error.status == 404:  # noqa: PLR2004  # HTTP's not found
                return None
            raise
        reserved: int | None = answer.get("ReservedConcurrentExecutions")
        return reserved

    async def close(self) -> None:
        """Close the connections."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        self._known.clear()
        if self._session is not None:
            await self._session.close()

    async def _load(self, reference: Reference) -> Function:
        self.unread.add(reference.name)
        parameters = {"FunctionName": reference.name}
        if reference.qualifier:
            parameters["Qualifier"] = reference.qualifier
        answer = await self._aws.call("lambda", "GetFunction", parameters, caller=CALLER)
        configuration = answer["Configuration"]
        if configuration.get("State", "Active") in ("Pending", "Failed"):
            raise NotActiveError(configuration["State"])
        _compare_versions(configuration)
        code = await self._code(configuration["CodeSha256"], answer["Code"]["Location"])
        if configuration.get("LastUpdateStatus") == "InProgress":
            self._known.pop(reference, None)  # what was read may change once more without anybody saying so
        layers = await self._layers([layer["Arn"] for layer in configuration.get("Layers", ())])
        function = replace(_function(configuration, code), layers=layers)
        self._on_load(function)
        return function

    async def _layers(self, arns: list[str]) -> Path | None:
        """The layers merged in their order (AWS Lambda developer guide, Packaging your layer content)."""
        folders = []
        for arn in arns:
            layer = await self._aws.call("lambda", "GetLayerVersionByArn", {"Arn": arn}, caller=CALLER)
            folders.append(await self._code(layer["Content"]["CodeSha256"], layer["Content"]["Location"]))
        if len(folders) < 2:  # noqa: PLR2004  # one needs no merging
            return folders[0] if folders else None
        target = self._folder("".join(folder.name for folder in folders))
        if not target.exists():
            await asyncio.to_thread(_place, target, lambda folder: _merge(folders, folder))
        return target

    def _folder(self, content: str) -> Path:
        return self._cache / hashlib.sha256(content.encode()).hexdigest()[:32]

    async def _code(self, sha256: str, location: str) -> Path:
        target = self._folder(sha256)
        if not target.exists():
            if self._session is None:
                timeout = aiohttp.ClientTimeout(total=_DOWNLOAD_SECONDS)
                self._session = aiohttp.ClientSession(timeout=timeout)
            try:
                async with self._session.get(location, headers={"x-testbed-caller": CALLER}) as answer:
                    answer.raise_for_status()
                    archive = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise AwsCallError("ServiceException", 0, f"the code at {location} did not load: {error}") from error
            await asyncio.to_thread(_unpack, archive, target)
        return target


def _compare_versions(configuration: Mapping[str, Any]) -> None:
    """Warn of a function that is written for another Python than the testbed's, on which it runs."""
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    name, runtime = configuration["FunctionName"], configuration["Runtime"]
    if runtime.startswith("python") and runtime != ours:
        _log.warning(
            "function %s has the runtime %s, and runs on the testbed's own interpreter, %s", name, runtime, ours
        )


def _function(configuration: Mapping[str, Any], code: Path) -> Function:
    return Function(
        name=configuration["FunctionName"],
        version=configuration.get("Version", "$LATEST"),
        revision=configuration.get("RevisionId", configuration["CodeSha256"]),
        runtime=configuration["Runtime"],
        handler=configuration.get("Handler", ""),
        timeout=float(configuration.get("Timeout", 3)),
        memory_mb=configuration.get("MemorySize", 128),
        variables=configuration.get("Environment", {}).get("Variables", {}),
        log_format=configuration.get("LoggingConfig", {}).get("LogFormat", "Text"),
        log_group=configuration.get("LoggingConfig", {}).get("LogGroup")
        or f"/aws/lambda/{configuration['FunctionName']}",
        code=code,
        dead_letter=configuration.get("DeadLetterConfig", {}).get("TargetArn"),
    )


def _unpack(archive: bytes, target: Path) -> None:
    _place(target, lambda folder: _extract(archive, folder))


def _merge(folders: list[Path], target: Path) -> None:
    for folder in folders:
        shutil.copytree(folder, target, dirs_exist_ok=True)


def _place(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside ``target`` and rename it: nobody ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        fill(folder)
        folder.rename(target)
    except OSError:
        if not target.exists():  # else another process was faster, with the same content
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(archive: bytes, folder: Path) -> None:
    """Unpack into ``folder``; programs stay executable, and everybody may read, as in ``/var/task``."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
        for entry in files.infolist():
            mode = entry.external_attr >> 16 & 0o777
            if mode and not entry.is_dir():
                (folder / entry.filename).chmod(mode | 0o444)
    folder.chmod(0o755)
