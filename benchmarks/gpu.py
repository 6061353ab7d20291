"""All benchmarks that only a GPU can answer, one after the other.

    python -m benchmarks.gpu [--rounds 5] [--device cpu --tiny]

Each runs in a process of its own, so that the next one finds the memory of the device free; what
they print is theirs. Needs a GPU and exits 2 without one; exits 1 when one of them failed.
`--device cpu --tiny` proves that all of it runs, at toy size, where the libraries are there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("benchmarks.gpu_encoders", "benchmarks.gpu_captioner")


def main(argv: Sequence[str] | None = None) -> int:
    asked = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    asked.add_argument("--tiny", action="store_true", help="toy models, to prove the code")
    told = asked.parse_args(argv)
    import torch

    if told.device == "cuda" and not torch.cuda.is_available():
        print("these benchmarks need a GPU (toy size: --device cpu --tiny)", file=sys.stderr)
        return 2
    passed = ["--rounds", str(told.rounds), "--device", told.device]
    passed += ["--tiny"] if told.tiny else []
    worst = 0
    for module in BENCHMARKS:
        print(f"# {module}", flush=True)
        done = subprocess.run([sys.executable, "-m", module, *passed], cwd=ROOT, check=False)
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
