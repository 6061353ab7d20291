"""How tests look at the search page: a service without keys on a gallery of its own, in which some
words are hostile, and a watch over what a page does.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from ecm.contracts.result import Outputs
from ecm.contracts.task import TaskType
from ecm.images.decode import DecodedImage
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery, picture
from tests.serving import Service, launch

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>"
HOSTILE_FILE = "%3Cimg%20src=x%20onerror=window.hacked=3%3E.png"
SIZES = {"tall.png": ("green", (180, 360)), "wide.png": ("green", (720, 240))}

_STOPPED = "document.addEventListener('securitypolicyviolation', (event) => console.error("
_STOPPED += "`policy: ${event.violatedDirective} ${event.blockedURI}`))"
_REFUSED = "Failed to load resource: the server responded with a status of "


@dataclass
class Watch:
    """What went wrong on the pages of a test. `expected` are statuses that the test provokes."""

    address: str
    context: BrowserContext
    expected: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def page(self) -> Page:
        """A new page at no address."""
        opened = self.context.new_page()
        opened.add_init_script(_STOPPED)
        opened.on("pageerror", lambda error: self.errors.append(str(error)))
        opened.on("console", self._told)
        opened.on("request", lambda asked: self._asked(asked.url))
        return opened

    def _told(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if not any(message.text.startswith(f"{_REFUSED}{status}") for status in self.expected):
            self.errors.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "blob:", "data:")):
            self.strangers.append(url)


class _Talker(Indexer):
    """Says something hostile of every yellow picture, as a caption and as a tag."""

    def _said(self, image: DecodedImage) -> dict[TaskType, Outputs]:
        said = super()._said(image)
        vision = said[TaskType.VISION]
        if vision.caption is None or "yellow" not in vision.caption.text:
            return said
        caption = vision.caption.model_copy(update={"text": f"yellow {HOSTILE}"})
        tags = [tag.model_copy(update={"label": HOSTILE}) for tag in vision.tags[:1]]
        words = {"caption": caption, "tags": (*tags, *vision.tags[1:])}
        return {**said, TaskType.VISION: vision.model_copy(update=words)}


@functools.cache
def open_service() -> Service:
    """A service that asks for no key, started once; it ends with the session."""
    indexer = _Talker(fake_profile(Path(tempfile.mkdtemp(prefix="ecm-page-"))))
    indexer.add(gallery(5))
    shaped = {name: picture(colour, 2, size) for name, (colour, size) in SIZES.items()}
    indexer.add({**shaped, HOSTILE_FILE: picture("red", 9)})
    indexer.publish()
    made = launch(indexer, [part for each in FAKE_MODELS for part in ("--set", each)])
    atexit.register(_end, made)
    return made


def _end(made: Service) -> None:
    made.stop()
    shutil.rmtree(made.home, ignore_errors=True)
