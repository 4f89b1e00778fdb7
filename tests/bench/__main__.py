"""``make bench``: every benchmark, one after the other, each in a process of its own. Run it on a quiet machine."""

import subprocess
import sys
from pathlib import Path

for script in sorted(Path(__file__).parent.glob("bench_*.py")):
    subprocess.run([sys.executable, str(script)], check=True)
