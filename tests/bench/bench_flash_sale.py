"""The whole job: flash-sale, all three architectures, with the engine installed before."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

with tempfile.TemporaryDirectory() as out:
    started = time.perf_counter()
    command = [
        str(Path(sys.executable).with_name("testbed")),
        "run",
        "flash-sale",
        "--seed",
        "42",
        "--json",
        "--out",
        out,
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    seconds = time.perf_counter() - started
    verdict = json.loads(done.stdout)
    accepted = {name: found["ledger"]["acknowledged"] for name, found in verdict["architectures"].items()}
    print(f"flash-sale complete (75 s): {seconds:.1f} s, {verdict['verdict']}, accepted {accepted}")
