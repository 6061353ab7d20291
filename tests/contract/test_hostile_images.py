"""Every hostile file has the outcome its manifest expects, in one process with little memory.

The process may not start a program, open a connection or change Pillow's settings, and each file
has a time limit, so that one bad image can neither kill, stall nor leave a worker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from ecm.images.decode import decode
from ecm.images.limits import ImageLimits
from ecm.images.listing import Found, Skipped, list_source

_LIMITS = ImageLimits()

_WORKER = """
import json, resource, signal, sys, time
from pathlib import Path
from PIL import Image, ImageFile
from ecm.errors import ImageError
from ecm.images.decode import decode, decoder_report
from ecm.images.limits import ImageLimits
from ecm.images.written import written

FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")
root, events, armed = Path(sys.argv[1]), [], False
sys.addaudithook(lambda name, _: armed and name.startswith(FORBIDDEN) and events.append(name))

def too_slow(*_):
    raise TimeoutError

decoder_report()
settings = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
signal.signal(signal.SIGALRM, too_slow)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), used + (2 << 30)))
armed = True
for item in json.loads((root / "generated_manifest.json").read_text()):
    data = (root / item["path"]).read_bytes()
    began = time.process_time()
    signal.alarm(30)
    try:
        written(data)  # of whatever decodes or not: it raises nothing
        image = decode(data, ImageLimits(), 256)
        outcome = {"outcome": "decode", "size": [image.width, image.height], "what": image.format,
                   "shape": image.pixels.shape, "plain": image.pixels.flags.c_contiguous
                   and str(image.pixels.dtype) == "uint8"}
    except ImageError as error:
        outcome = {"outcome": "reject", "what": error.code}
    except BaseException as error:
        outcome = {"outcome": "crash", "what": repr(error)[:300]}
    signal.alarm(0)
    print(json.dumps(item | outcome | {"seconds": time.process_time() - began}), flush=True)
same = settings == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
print(json.dumps({"events": events, "settings_kept": same}))
"""


@pytest.fixture(scope="module")
def hostile(shared_data: Path) -> Path:
    return shared_data / "hostile"


@pytest.fixture(scope="module")
def manifest(hostile: Path) -> dict[str, dict[str, Any]]:
    items = json.loads((hostile / "generated_manifest.json").read_text())
    return {item["path"]: item for item in items}


@pytest.fixture(scope="module")
def worker(hostile: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What one process said of every file, and of itself at its end."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _WORKER, str(hostile)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-2000:]
    return lines[:-1], lines[-1]


def test_every_file_has_its_outcome(
    worker: tuple[list[dict[str, Any]], dict[str, Any]], manifest: dict[str, dict[str, Any]]
) -> None:
    outcomes, _ = worker
    allowed = {
        "decode": {"decode"},
        "reject": {"reject"},
        "reject-or-safe": {"reject", "decode"},
        "either": {"reject", "decode"},
        "skip": {"reject", "decode"},
    }
    wrong = [item for item in outcomes if item["outcome"] not in allowed[item["expect"]]]
    assert not wrong
    assert len(outcomes) == len(manifest) == 256
    decoded = [item for item in outcomes if item["outcome"] == "decode"]
    assert all(item["plain"] and item["shape"][2] == 3 for item in decoded)
    assert all(item["size"] == item["upright"] for item in decoded if "upright" in item)


def test_no_file_is_slow_and_none_reaches_outside(
    worker: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    outcomes, end = worker
    slow = {item["path"]: item["seconds"] for item in outcomes if item["seconds"] > 1.0}
    # 88 honest megapixels of PNG are allowed their inflating
    slow.pop("bomb/png_9400x9400_rgb_under_warning.png", None)
    assert not slow
    assert end == {"events": [], "settings_kept": True}


def test_cut_files_are_called_truncated_and_none_is_filled_in(
    worker: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    codes = {item["path"]: item["what"] for item in worker[0] if item["outcome"] == "reject"}
    for kind, ending in (("jpeg", "jpg"), ("progjpeg", "jpg"), ("png", "png"), ("webp", "webp")):
        for percent in (1, 25, 50, 90, 99):
            assert codes[f"broken/trunc_{kind}_{percent}pct.{ending}"] == "decode.truncated"
    assert codes["broken/png_short_idat.png"] == "decode.truncated"
    assert codes["broken/zeros_tail.jpg"] == "decode.truncated"
    assert not {"broken/jpeg_no_eoi.jpg", "broken/png_no_iend.png"} & set(codes)


def test_listing_admits_and_skips_as_expected(
    hostile: Path, manifest: dict[str, dict[str, Any]]
) -> None:
    root = hostile.resolve().as_uri() + "/"
    entries = {unquote(entry.uri.removeprefix(root)): entry for entry in list_source(str(hostile))}
    assert set(entries) == set(manifest) | {"generated_manifest.json"}
    for path, item in manifest.items():
        if item["expect"] == "skip":
            assert isinstance(entries[path], Skipped), path
        elif item["expect"] in ("decode", "reject"):
            assert isinstance(entries[path], Found), path
    reasons = {path: entry.reason for path, entry in entries.items() if isinstance(entry, Skipped)}
    assert reasons["clutter/@eaDir/photo.jpg/SYNOFILE_THUMB_M.jpg"] == "thumbnail_folder"
    assert reasons["clutter/.Trash-1000/files/x.jpg"] == "trash_folder"
    assert reasons["wrong/photo.jpg.part"] == "partial_download"


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        *[(f"exif_orientation_{number}.jpg", 3) for number in range(1, 9)],
        *[
            (name, 4)
            for name in ("jpeg_progressive.jpg", "jpeg_444_restart.jpg", "mpo_two_frames.mpo")
        ],
        *[
            (name, 4)
            for name in ("png_exif_rot6.png", "webp_exif_rot6.webp", "avif.avif", "heic.heic")
        ],
        *[(f"tiff_{kind}.tif", 4) for kind in ("raw", "tiff_lzw", "jpeg", "packbits", "bigtiff")],
        *[(f"x.{kind}", 1) for kind in ("ppm", "tga", "pcx", "dds", "sgi", "qoi")],
        *[("bmp24.bmp", 1), ("jpeg2000.jp2", 2), ("bmp32_alpha.bmp", 1)],
        *[("jpeg_cmyk.jpg", 12), ("tiff_cmyk.tif", 12), ("lab.tif", 12)],
    ],
)
def test_formats_show_the_same_picture(hostile: Path, name: str, difference: int) -> None:
    """Mean absolute difference to the plain PNG: wrong colours or a wrong turn are above 40."""
    plain = decode((hostile / "odd/png_rgb.png").read_bytes(), _LIMITS, 1000).pixels
    image = decode((hostile / "odd" / name).read_bytes(), _LIMITS, 1000)
    assert image.pixels.shape == plain.shape
    assert np.abs(image.pixels.astype(int) - plain.astype(int)).mean() < difference


@pytest.mark.parametrize("kind", ["Landscape", "Portrait"])
def test_photographs_are_turned_upright(shared_data: Path, kind: str) -> None:
    folder = shared_data / "photos" / "exif_orientation"
    first, *others = [
        decode((folder / f"{kind}_{number}.jpg").read_bytes(), _LIMITS, 256) for number in range(9)
    ]
    for image in others:
        assert (image.width, image.height) == (first.width, first.height)
        # the files differ in the digit they show, hence the tolerance
        assert np.abs(image.pixels.astype(int) - first.pixels.astype(int)).mean() < 12
    assert [image.orientation for image in others] == list(range(1, 9))
