"""DPO and KTO: the label preferred to the student's own wrong answer.

Which answers are wrong is the strict comparator's word against the label, which from round 2 on is one that a judge has
ruled on. The answers are those that the probe has kept (``predictions``); where it has none, in the first round and for
new samples, the start of the training is asked for its likeliest one.
"""
# No postponed annotations: the settings' types are read off the classes.

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from transformers import Trainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from sloop.calls.match.strict import strict
from sloop.records import UserError
from sloop.records.ranges import Weight, Within
from sloop.store import predictions_at
from sloop.students.templates import encode_pairs, render_prompt
from sloop.trainers.answers import Row, likeliest
from sloop.trainers.trl import MODULES, TRLTrainer, Untouched, Work, table

Beta = Annotated[float, Within(0, 1_000, above=True)]
TELL_EVERY = 64
"""Answers between two words of progress."""


class Pair(NamedTuple):
    """A labelled sample, and the wrong answer that the student gave to it."""

    row: Row
    wrong: list[int]
    """Its tokens, with the one that ended it."""


def pairs_of(work: Work, *, max_tokens: int, batch_size: int) -> list[Pair]:
    """A pair for every row that the student answers wrongly, in the order of the rows.

    Raises:
        UserError: no sample gives one.
    """
    rows = {row.sample.id: row for row in work.rows}
    answers = _given(work, rows)
    asked = [row for sample_id, row in rows.items() if sample_id not in answers]
    for row, written in likeliest(work.model, asked, work.reader.stops, max_tokens=max_tokens, batch_size=batch_size):
        answers[row.sample.id] = written.tokens, work.reader.match(row, written.tokens).valid
        if not len(answers) % TELL_EVERY:
            work.progress(0, work.steps, {"answered": float(len(answers))})
    wrong = {sample_id: tokens for sample_id, (tokens, is_right) in answers.items() if not is_right}
    work.progress(0, work.steps, {"pairs": float(len(wrong)), "answered": float(len(answers))})
    if not wrong:
        raise UserError(
            f"all {len(answers)} samples are answered right already: there is no wrong answer that a label could be "
            "preferred to. Give samples that the student gets wrong, or train on these by trainer=sft."
        )
    return [Pair(row, wrong[row.sample.id]) for row in work.rows if row.sample.id in wrong]


def _given(work: Work, rows: dict[str, Row]) -> dict[str, tuple[list[int], bool]]:
    """By sample, the answers that are there: their tokens, and whether they are right."""
    found: dict[str, tuple[list[int], bool]] = {}
    for answer in predictions_at(work.predictions) if work.predictions else ():
        row = rows.get(answer.sample_id)
        if row is None or row.sample.label is None or answer.error == "model" or not answer.text:
            continue  # no text that could be unlearnt: the student is asked again
        end = [] if answer.error == "truncated" else row.example.answer[-1:]
        valid = strict(row.sample.tools, None if answer.error else answer.calls, row.sample.label).valid
        ((_, written),) = encode_pairs(work.tokenizer, [render_prompt(work.tokenizer, row.sample)], [answer.text])
        found[answer.sample_id] = written + end, valid
    return found


@dataclass(kw_only=True)
class _Compared(TRLTrainer):
    """What both share."""

    MODULES: ClassVar[tuple[str, ...]] = (*MODULES, "sloop.trainers.preference")

    beta: Beta

    @property
    def at_once(self) -> int:
        """Rows of a part, and as many others that they are compared with."""
        return 2 * super().at_once


class _DPO(Untouched, DPOTrainer): ...


@dataclass(kw_only=True)
class DPO(_Compared):
    """Direct preference optimization (Rafailov et al., 2023), with the label's own loss beside it."""

    sft_weight: Weight

    def trainer(self, work: Work, common: dict[str, Any]) -> Trainer:
        """TRL's trainer over the pairs."""
        pairs = pairs_of(work, max_tokens=self.max_answer, batch_size=self.batch_size)
        if right := len({row.sample.id for row in work.rows}) - len({pair.row.sample.id for pair in pairs}):
            work.left_out["answered right"] = right
        losses = {"sigmoid": 1.0} | ({"sft": self.sft_weight} if self.sft_weight else {})
        return _DPO(
            model=work.model,
            ref_model=work.reference(),
            args=DPOConfig(
                **common,
                per_device_train_batch_size=self.parts(self.batch_size),
                beta=self.beta,
                loss_type=list(losses),
                loss_weights=list(losses.values()),
                max_length=None,
            ),
            train_dataset=table(
                [
                    {
                        "prompt_ids": pair.row.example.prompt,
                        "chosen_ids": pair.row.example.answer,
                        "rejected_ids": pair.wrong,
                    }
                    for pair in pairs
                ]
            ),
            processing_class=work.tokenizer,
        )


class _KTO(Untouched, KTOTrainer): ...


@dataclass(kw_only=True)
class KTO(_Compared):
    """Kahneman-Tversky optimization (Ethayarajh et al., 2024): labels are desirable, wrong answers are not."""

    desirable_weight: Weight | None
    undesirable_weight: Weight

    def trainer(self, work: Work, common: dict[str, Any]) -> Trainer:
        """TRL's trainer over every label and every wrong answer."""
        size = self.parts(self.batch_size)
        if size < 2:
            raise UserError("KTO compares the answers in memory with each other: trainer.batch_size must leave two.")
        pairs = pairs_of(work, max_tokens=self.max_answer, batch_size=self.batch_size)
        rows = _mixed(
            [(row.example.prompt, row.example.answer) for row in work.rows],
            [(pair.row.example.prompt, pair.wrong) for pair in pairs],
        )
        # Of another prompt in the same part of a step, as TRL pairs them: they estimate the divergence
        others = [answer for at in range(0, len(rows), size) for answer in _turned(rows[at : at + size])]
        balanced = self.undesirable_weight * len(pairs) / len(work.rows)  # both sides weigh the same (equation 8)
        return _KTO(
            model=work.model,
            ref_model=work.reference(),
            args=KTOConfig(
                **common,
                per_device_train_batch_size=size,
                beta=self.beta,
                desirable_weight=balanced if self.desirable_weight is None else self.desirable_weight,
                undesirable_weight=self.undesirable_weight,
                max_length=None,
            ),
            train_dataset=table(
                [
                    {"prompt_ids": prompt, "completion_ids": answer, "label": liked, "KL_completion_ids": other}
                    for (prompt, answer, liked), other in zip(rows, others, strict=True)
                ]
            ),
            processing_class=work.tokenizer,
        )


Answered = tuple[list[int], list[int]]
"""Prompt and answer, in tokens."""


def _mixed(liked: list[Answered], disliked: list[Answered]) -> list[tuple[list[int], list[int], bool]]:
    """Both, each spread evenly: TRL takes the rows in this order, whatever the seed."""
    placed = [
        ((at + 0.5) / len(rows), *row, rows is liked) for rows in (liked, disliked) for at, row in enumerate(rows)
    ]
    return [row for _, *row in sorted(placed, key=lambda row: row[0])]  # type: ignore[misc]


def _turned(rows: Sequence[tuple[list[int], list[int], bool]]) -> list[list[int]]:
    """The answers of some rows, each at one of another prompt, as far as no prompt has more than half of the rows."""
    ordered = sorted(range(len(rows)), key=lambda at: rows[at][0])
    widest = max(Counter(tuple(prompt) for prompt, _, _ in rows).values())
    turned = dict(zip(ordered, [*ordered[widest:], *ordered[:widest]], strict=True))
    return [rows[turned[at]][1] for at in range(len(rows))]
