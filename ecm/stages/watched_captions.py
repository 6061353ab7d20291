"""A captioner's stage under a vigil, for callers with an event loop and without.

The engine lives in the loop; the vigil waits in a thread, so that blocks in work go on being
answered while another is judged. Knows the stage, the vigil and no engine.
"""

from __future__ import annotations

import asyncio

import pyarrow as pa

from ecm.contracts.task import TaskType
from ecm.models.captioner import Captioner
from ecm.stages.caption import CaptionStage
from ecm.stages.probing import caption_probing
from ecm.stages.vigil import Vigil, Watch, Watched


class WatchedCaptions:
    """As CaptionStage. Raises ModelDrifted as its vigil does. A context manager, too."""

    def __init__(self, stage: CaptionStage, captioner: Captioner, watch: Watch) -> None:
        self._stage = stage
        self._captioner = captioner
        self._watch = watch
        self._vigil: Vigil | None = None
        self._probed = True
        self._runner: asyncio.Runner | None = None

    def __enter__(self) -> WatchedCaptions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine, then the event loop that `__call__` brought."""
        self._stage.close()
        if self._runner is not None:
            self._runner.close()

    def __call__(self, block: pa.Table) -> pa.Table:
        """As `run`, for callers without an event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.run(block))

    def last_word(self) -> None:
        """See `Vigil.close`; for callers without an event loop."""
        if self._vigil is not None and self._runner is not None:
            self._runner.run(asyncio.to_thread(self._vigil.close))

    async def run(self, block: pa.Table) -> pa.Table:
        """The block with what the captioner says, unless a probe has failed."""
        if block.num_rows == 0 or not self._probed:
            return await self._stage.run(block)
        vigil = self._opened()
        if vigil is None:
            return await self._stage.run(block)
        await asyncio.to_thread(vigil.begin, block)
        said = await self._stage.run(block)
        await asyncio.to_thread(vigil.watch, said)
        return said

    def _opened(self) -> Vigil | None:
        """The vigil, None for a model without probes; the loop is known when a block comes."""
        if self._vigil is None:
            probing = caption_probing(self._captioner, asyncio.get_running_loop())
            self._probed = probing is not None
            if probing is None:
                return None
            name = self._captioner.manifest.name
            model = Watched(name, frozenset({TaskType.VISION}), sees_pixels=True)
            self._vigil = Vigil(model, probing, self._watch)
        return self._vigil
