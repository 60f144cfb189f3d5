"""On-policy distillation (Agarwal et al., 2024): the student answers, and learns a teacher's chances of each token."""
# No postponed annotations: the settings' types are read off the class.

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer

from sloop.records import UserError
from sloop.records.ranges import Heat, PathText, Share
from sloop.students.local import load_model, load_tokenizer
from sloop.trainers.lora import whole_bytes
from sloop.trainers.trl import MODULES, Rendered, TRLTrainer, Work, table


class _Distillation(Rendered, DistillationTrainer): ...


@dataclass(kw_only=True)
class Distill(TRLTrainer):
    """A teacher with the student's vocabulary says how likely each token of the student's own answers is."""

    MODULES: ClassVar[tuple[str, ...]] = (*MODULES, "sloop.trainers.distill")
    FOLDERS: ClassVar[frozenset[str]] = frozenset({"teacher"})

    teacher: PathText
    divergence: Share
    temperature: Heat

    def copies(self, work: Work, weights: int) -> dict[str, int]:
        """The teacher; nothing is held against the start."""
        return {"teacher": whole_bytes(Path(self.teacher))}

    def trainer(self, work: Work, common: dict[str, Any]) -> Any:
        """TRL's trainer over the prompts.

        Raises:
            UserError: the teacher's tokens are others.
        """
        folder = Path(self.teacher)
        if load_tokenizer(folder).get_vocab() != work.tokenizer.get_vocab():
            raise UserError(
                f"trainer.teacher={self.teacher}: its vocabulary is not that of {work.start}, so that its chances are "
                "those of other tokens. Give a teacher of the same family, or one trained on from the same checkpoint."
            )
        teacher = load_model(folder, torch.float32)
        theirs, ours = (one.config.get_text_config().vocab_size for one in (teacher, work.model))
        if theirs < ours:
            raise UserError(
                f"trainer.teacher={self.teacher}: it has room for {theirs} tokens and {work.start} for {ours}. Give a "
                "teacher that has as much, or more."
            )
        teacher.resize_token_embeddings(ours)  # sizes of one family have other room behind the same tokens
        made: Any = _Distillation(
            model=work.model,
            teacher_model=teacher.to(self.device).eval().requires_grad_(False),
            args=DistillationConfig(
                **common,
                per_device_train_batch_size=self.parts(self.batch_size),
                shuffle_dataset=False,
                max_completion_length=self.max_answer,
                beta=self.divergence,
                temperature=self.temperature,
            ),
            train_dataset=table([{"prompt": str(place)} for place in work.places(self.batch_size)]),
            processing_class=work.tokenizer,
        )
        made.rows = work.rows
        return made
