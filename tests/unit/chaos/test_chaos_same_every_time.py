"""The same seed decides the same at any concurrency and in every run, for every kind of fault of calls."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import every_fault
import pytest
from every_fault import decided_by

from testbed.chaos.catalogue import FAULTS
from testbed.chaos.fault import CallFault


async def test_one_client_and_sixty_four_get_the_same_decisions() -> None:
    """Each hit, with its delay, its answer and its effect; whatever the order in which the orders come."""
    alone = await decided_by(1)
    assert await decided_by(64) == alone
    assert await decided_by(64, shuffled=1) == alone


async def test_every_kind_of_fault_is_among_them() -> None:
    """A kind that hits nothing would be compared with nothing."""
    hit = {json.loads(line)["fault"].partition("-")[0] for line in await decided_by(1)}
    assert hit == {name for name, kind in FAULTS.items() if issubclass(kind, CallFault)}


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_decides_the_same(hash_seed: str) -> None:
    """A second run, where Python's own hashes are other ones."""
    told = subprocess.run(
        [sys.executable, Path(every_fault.__file__), "16", "3"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    ).stdout
    assert told.splitlines() == asyncio.run(decided_by(1))
