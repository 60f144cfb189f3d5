"""Parts that break: for what sloop does then."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acme_tools import LookupStudent

from sloop.records import Checkpoint, Decode, Dialogue, Prediction, Sample, UserError


class BreakingTrainer:
    """Fails as a programming error does."""

    def train(self, *_: Any, **__: Any) -> Checkpoint:
        """Never gets there."""
        raise KeyError("a mistake in the trainer")


class CrowdedTeacher:
    """Finds a mistake of the reader's when a run beside this one has begun: its folder's place is in a variable."""

    async def write(self, *_: Any) -> Dialogue:
        """Never gets there."""
        Path(os.environ["SLOOP_TESTS_BESIDE"]).mkdir(exist_ok=True)
        raise UserError("a mistake that shows late")


class MuteStudent(LookupStudent):
    """Raises on the first batch that it is asked."""

    asked = 0

    def predict(self, samples: Sequence[Sample], decode: Decode) -> list[Prediction]:
        """Answers in input order, but for the first batch."""
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("out of memory")
        return super().predict(samples, decode)
