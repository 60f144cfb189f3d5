"""What weights in training answer: written, read in the checkpoint's own format, and how right that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sloop.calls.formats import parse
from sloop.calls.match.strict import Match, strict
from sloop.records import Sample, ToolCall, UserError
from sloop.students.decoding import Written, generate
from sloop.students.local import recorded_format, stop_ids
from sloop.students.templates import opened_thought, template_format
from sloop.trainers.batches import Example, examples


class Row(NamedTuple):
    """A labelled sample, and its tokens."""

    sample: Sample
    example: Example


def labelled(tokenizer: Any, data: Iterable[Sample], max_length: int) -> tuple[list[Row], Counter[str]]:
    """Every labelled sample with its tokens, as often as its copies say, and what was left out for which reason."""
    left_out: Counter[str] = Counter()
    rows = []
    for sample in data:
        kept, lost = examples(tokenizer, [sample], max_length)
        rows += [Row(sample, example) for example in kept]
        left_out += lost
    return rows, left_out


class Reader:
    """Reads answers in tokens. Special tokens count: some formats mark calls with them."""

    def __init__(self, folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take the format and the ends of turns of a loaded checkpoint.

        Raises:
            UserError: neither its record nor its template says in which format it writes calls, or nothing which
                token ends an answer.
        """
        found = recorded_format(folder) or template_format(tokenizer)
        if found is None:
            raise UserError(
                f"checkpoint {folder} does not say in which format it writes calls, so that no answer of its can be "
                "read. Set student.answer_format, or use trainer=sft trainer.watched=0, which reads none."
            )
        self.format = found
        self.tokenizer = tokenizer
        self.stops = stop_ids(model, tokenizer)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer, without the token that ended it."""
        whole = list(tokens[:-1] if tokens and tokens[-1] in self.stops else tokens)
        return str(self.tokenizer.decode(whole, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def calls(self, row: Row, tokens: Sequence[int]) -> tuple[ToolCall, ...] | None:
        """The calls of an answer; None where it did not end, or cannot be read."""
        if not tokens or tokens[-1] not in self.stops:
            return None
        opened = bool(opened_thought(self.text(row.example.prompt[-32:])))
        parsed = parse(self.format, self.text(tokens), thinking=opened, tools=row.sample.tools)
        return None if parsed.error else parsed.calls

    def match(self, row: Row, tokens: Sequence[int]) -> Match:
        """The strict comparator's word on an answer."""
        assert row.sample.label is not None
        return strict(row.sample.tools, self.calls(row, tokens), row.sample.label)


def shares(matches: Sequence[Match]) -> dict[str, float]:
    """How right some answers are, under the names by which training tells it: shares, 0 to 1."""
    return {
        "tool_call/name_correct": sum(match.tools_equal for match in matches) / len(matches),
        "tool_call/args_exact_match": sum(match.valid for match in matches) / len(matches),
    }


def likeliest(
    model: Any, rows: Sequence[Row], stops: frozenset[int], *, max_tokens: int, batch_size: int
) -> Iterator[tuple[Row, Written]]:
    """The likeliest answer to each row, shortest prompts first; the model is left in the mode that it was in."""
    training = model.training
    model.eval()
    ordered = sorted(rows, key=lambda row: len(row.example.prompt))
    for start in range(0, len(ordered), batch_size):
        some = ordered[start : start + batch_size]
        yield from zip(
            some, generate(model, [row.example.prompt for row in some], [max_tokens] * len(some), stops), strict=True
        )
    model.train(training)


def graded(model: Any, rows: Sequence[Row], reader: Reader, max_tokens: int, batch_size: int) -> dict[str, float]:
    """How right the likeliest answers to some rows are, as `shares` tells it."""
    answers = likeliest(model, rows, reader.stops, max_tokens=max_tokens, batch_size=batch_size)
    return shares([reader.match(row, written.tokens) for row, written in answers])
