"""Do models see copies? A set in which a share of the files are others under another name.

    python benchmarks/duplicates.py [--images 1000] [--copies 0.3]

Indexes it with `ecm index` and the fake models, which count what goes through them. Prints images
through the models over unique contents, and how many of all paths a search finds: one question for
each colour, every page of it, every path of every hit.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.resume import Setting, finish, make  # noqa: E402 - needs the path above
from ecm.config import load_profile  # noqa: E402 - as above
from ecm.contracts.search import Axis, SearchRequest  # noqa: E402 - as above
from ecm.models.fakes import COLOURS  # noqa: E402 - as above
from ecm.opening import open_engine  # noqa: E402 - as above

GOAL = 1.01


def draw_photos(folder: Path, unique: int, copies: int) -> None:
    """Pictures of mostly one colour each, then copies of some of them; names are shuffled."""
    colours = list(COLOURS.values())
    contents = []
    for number in range(unique):
        image = Image.new("RGB", (40, 40), colours[number % len(colours)])
        image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
        out = io.BytesIO()
        image.save(out, "PNG")
        contents.append(out.getvalue())
    files = contents + [random.choice(contents) for _ in range(copies)]
    random.shuffle(files)
    folder.mkdir()
    for number, data in enumerate(files):
        (folder / f"{number:06d}.png").write_bytes(data)


def paths_found(setting: Setting) -> Iterator[str]:
    """Paths of all hits of all pages, one question per colour."""
    models = [f"{name}={value}" for name, value in setting.models.items()]
    engine = open_engine(load_profile("L1", home=setting.home, overrides=models, environ={}))
    for colour in COLOURS:
        cursor: str | None = None
        while True:
            answer = engine.search(
                SearchRequest(
                    tenant_id="default",
                    text=colour,
                    axes=(Axis.FTS,),
                    candidates=500,
                    limit=200,
                    cursor=cursor,
                )
            )
            for hit in answer.hits:
                yield from (unquote(uri.removeprefix("file://")) for uri in hit.uris)
            cursor = answer.cursor
            if cursor is None:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--copies", type=float, default=0.3)
    options = parser.parse_args()
    random.seed(1)
    copies = round(options.images * options.copies)
    unique = options.images - copies
    with tempfile.TemporaryDirectory(prefix="ecm-duplicates-") as name:
        photos, home = Path(name) / "photos", Path(name) / "home"
        draw_photos(photos, unique, copies)
        home.mkdir()
        setting = make(photos, home, 64)
        summary = finish(setting)
        ratio = setting.modelled() / unique
        found = set(paths_found(setting))
        missing = {str(path) for path in photos.iterdir()} - found
    print(f"{options.images} files, {unique} contents; {summary['committed']} committed")
    print(f"images through the models / contents: {ratio:.4f} (goal {GOAL})")
    print(f"paths that a search finds: {options.images - len(missing)} of {options.images}")
    sys.exit(ratio > GOAL or bool(missing))


if __name__ == "__main__":
    main()
