"""What does one bad image in a hundred cost the good ones?

    python benchmarks/poison.py [--images 2000] [--share 0.01] [--rounds 3]

Indexes the same good images with `ecm index` and the fake models, alone and mixed with poison: torn
files, damaged pixels, a bomb that claims 60,000 pixels a side, text under an image's name, noise
behind a signature. The order alternates from round to round. Prints good images per second of
both, start-up excluded, the ratio of their medians, and what became of the poison: every one of it
must be a dead letter of class `input`.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.resume import finish, make  # noqa: E402 - needs the path above

GOAL = 0.97


def picture(number: int) -> bytes:
    """A photo-sized PNG; no two alike."""
    image = Image.linear_gradient("L").resize((320, 240)).convert("RGB")
    tint = (number % 251, number // 251 % 251, 90)
    image = Image.blend(image, Image.new("RGB", image.size, tint), 0.5)
    image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damaged(data: bytes) -> bytes:
    """Pixels that do not unpack."""
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


def bomb(data: bytes) -> bytes:
    """A header that claims far more pixels than are allowed, with the right checksum."""
    head = b"IHDR" + (60_000).to_bytes(4) * 2 + data[24:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4) + data[33:]


def text(data: bytes) -> bytes:
    return b"not an image at all " * 40


def noise(data: bytes) -> bytes:
    return data[:8] + random.Random(len(data)).randbytes(4000)


POISONS: tuple[Callable[[bytes], bytes], ...] = (torn, damaged, bomb, text, noise)


def draw_sets(good: Path, mixed: Path, images: int, share: float) -> int:
    """The good images in both folders, poison spread among those of the second; how much of it."""
    good.mkdir()
    mixed.mkdir()
    every = round(1 / share)
    poisoned = 0
    for number in range(images):
        data = picture(number)
        for folder in (good, mixed):
            (folder / f"{number:06d}.png").write_bytes(data)
        if number % every == 0:
            spoilt = POISONS[poisoned % len(POISONS)](picture(images + number))
            (mixed / f"{number:06d}-poison.png").write_bytes(spoilt)
            poisoned += 1
    return poisoned


def dead_letters(home: Path) -> list[dict[str, Any]]:
    command = ["dead-letters", "list", "--home", str(home), "--json", "--limit", "100000"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def check(home: Path, summary: dict[str, Any], images: int, poisoned: int) -> None:
    """Exits unless all good images are committed and all poison is dead, for the right reason."""
    letters = dead_letters(home)
    paths = {letter["resource"] for letter in letters}
    wrong = [letter for letter in letters if letter["class"] != "input"]
    strangers = [path for path in paths if "poison" not in path]
    print(f"  poison: {len(paths)} of {poisoned} dead, codes {codes_of(letters)}")
    if (summary["committed"], len(paths)) != (images, poisoned) or wrong or strangers:
        sys.exit(f"not as it should be: {summary}, {wrong[:3]}, {strangers[:3]}")


def codes_of(letters: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({letter["code"] for letter in letters}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"good": [], "mixed": []}
    with tempfile.TemporaryDirectory(prefix="ecm-poison-") as name:
        folder = Path(name)
        poisoned = draw_sets(folder / "good", folder / "mixed", options.images, options.share)
        for number in range(options.rounds):
            for kind in sorted(rates, reverse=bool(number % 2)):
                home = folder / "home"
                home.mkdir()
                summary = finish(make(folder / kind, home, 128), "--max-dead=100000")
                seconds = summary["seconds"] - summary["startup_seconds"]
                rates[kind].append(summary["committed"] / seconds)
                print(f"{kind}: {rates[kind][-1]:.1f} good images/s", flush=True)
                if kind == "mixed":
                    check(home, summary, options.images, poisoned)
                shutil.rmtree(home)
    ratio = statistics.median(rates["mixed"]) / statistics.median(rates["good"])
    print(f"good images with poison / without: {ratio:.3f} (goal {GOAL})")
    sys.exit(ratio < GOAL)


if __name__ == "__main__":
    main()
