"""Checkpoint 0 from scratch: a model of under a million weights, and a tokenizer cut to the seed pool.

Its tokenizer and its prompt are made for a minute of two CPU cores:

- Frequent words of the pool (templates, names of tools and parameters, JSON glue) are one token each. Every other
  word is spelled byte by byte, so that a value never seen before is copied like any other, and any text round-trips.
  With 300 pieces between byte and word, and more words, unseen values were copied much worse.
- A space and a digit are tokens of their own, so that a value has the same tokens in the request and in the answer.
- The tools stand between the last user message and the answer; before the request they did as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from sloop.records import Checkpoint, Sample, UserError
from sloop.records.ranges import Positive, Tokens, Within
from sloop.store import Dataset, checkpoint_at, read_json, write_json

Listing = Literal["names", "signature", "schema"]

ANSWER_FORMAT = "hermes"
RECORD_FILE = "sloop.json"
"""What sloop must know of a checkpoint and Transformers does not: the name of its answer format."""

END = "<|im_end|>"
PAD = "<|pad|>"
START = "<|im_start|>"
CALL_OPEN = '<tool_call>\n{"name": "'
GLUE = (
    *(f"{START}{role}\n" for role in ("system", "user", "assistant", "tool", "tools")),
    *(f"{END}\n{START}{role}\n" for role in ("user", "assistant", "tool", "tools")),
    "<tool_call>",
    "</tool_call>",
    CALL_OPEN,
    '", "arguments": {"',
    '", "arguments": {',
    '": "',
    '": ',
    '", "',
    ', "',
    '"}}\n</tool_call>',
    "}}\n</tool_call>",
    "</tool_call>\n" + CALL_OPEN,
    '"}}\n</tool_call>\n' + CALL_OPEN,
    "}}\n</tool_call>\n" + CALL_OPEN,
)
"""Text that always stands together, one token each. None but the markers of `SPECIAL` is a special token: decoding
keeps them, or a call would lose the tag by which it is parsed."""
SPECIAL = (PAD, START, END)
FEWEST_TOKENS = len(SPECIAL) + 256 + len(GLUE)
MOST_WEIGHTS = 100_000_000
"""Of a model from scratch: more than this machine's memory is meant for, and than a pool of samples can teach."""

WORDS = r"[A-Za-z_]+|\d|[^\sA-Za-z0-9_]+ ?|\s"
"""A word, a digit, punctuation with the space after it, or one white space."""

MARKS = {"string": "", "integer": "#", "number": "#", "boolean": "!", "array": "[]", "object": "{}"}
"""Type of a parameter in a signature listing, in one character; a type that is none of these goes unmarked."""

_LISTINGS: dict[Listing, str] = {
    "names": "{{ ' ' if not loop.first }}{{ f.name }}",
    "signature": (
        "{{ ' ' if not loop.first }}{{ f.name }}("
        "{% for name, p in (f.parameters.properties or {}).items() %}"
        "{{ ', ' if not loop.first }}{{ name }}{{ marks.get(p.type, '') if p.type is string }}"
        "{{ '?' if name not in (f.parameters.required or []) }}"
        "{% endfor %})"
    ),
    "schema": "{{ '\\n' if not loop.first }}{{ tool | tojson }}",
}
_TEMPLATE = (
    "{%- set marks = " + repr(MARKS) + " -%}"
    "{%- set ns = namespace(last=-1) -%}"
    "{%- for m in messages if m.role == 'user' -%}{%- set ns.last = m -%}{%- endfor -%}"
    "{%- macro listing() -%}{% if tools %}" + START + "tools\n"
    "{% for tool in tools %}{% set f = tool.function %}LISTING{% endfor %}"
    + END
    + "{{ '\\n' }}{% endif %}{%- endmacro -%}"
    "{%- if ns.last == -1 -%}{{ listing() }}{%- endif -%}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'assistant' -%}" + START + "assistant\n"
    "{% generation %}{{ m.content or '' }}{% for call in m.tool_calls or [] %}"
    "{{ '\\n' if m.content or not loop.first }}"
    '<tool_call>\n{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}"
    "}\n</tool_call>{% endfor %}" + END + "{% endgeneration %}{{ '\\n' }}"
    "{%- else -%}" + START + "{{ m.role }}\n{{ m.content or '' }}" + END + "{{ '\\n' }}"
    "{%- if m is sameas ns.last -%}{{ listing() }}{%- endif -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}" + START + "assistant\n{% endif -%}"
)


def is_from_scratch(folder: Path) -> bool:
    """Whether a checkpoint began as one that was made here, and has learnt nothing but what it was trained on here."""
    path = folder / RECORD_FILE
    return path.is_file() and "listing" in read_json(path)


def chat_template(listing: Listing) -> str:
    """The Jinja chat template that shows tools as ``listing`` says and writes answers in Hermes form."""
    return _TEMPLATE.replace("LISTING", _LISTINGS[listing])


class TinySpec:
    """How to make checkpoint 0 from scratch."""

    def __init__(
        self,
        *,
        architecture: Literal["lfm2"],
        hidden_size: Annotated[int, Within(2, 4_096)],
        intermediate_size: Annotated[int, Within(1, 16_384)],
        layers: Annotated[list[Literal["conv", "attention"]], Field(min_length=1, max_length=64)],
        num_heads: Annotated[int, Within(1, 256)],
        listing: Listing,
        vocab_size: Annotated[int, Within(FEWEST_TOKENS, 100_000)],
        min_frequency: Positive,
        context: Tokens,
    ) -> None:
        """Take the spec as it stands in ``conf/student/tiny.yaml``, which says what each value is.

        Raises:
            UserError: the heads do not divide the hidden size, or it would be no small model.
        """
        weights = vocab_size * hidden_size + len(layers) * hidden_size * (4 * hidden_size + 3 * intermediate_size)
        if weights > MOST_WEIGHTS:
            raise UserError(
                f"student.scratch: hidden_size={hidden_size}, intermediate_size={intermediate_size}, "
                f"vocab_size={vocab_size} and {len(layers)} layers make about {weights:,} weights; give a model of at "
                f"most {MOST_WEIGHTS:,}, or a checkpoint: student=checkpoint student.path=FOLDER"
            )
        if hidden_size % (2 * num_heads):
            raise UserError(
                f"hidden_size {hidden_size} cannot be cut into {num_heads} heads of even size; "
                f"choose a multiple of {2 * num_heads}."
            )
        self.architecture = architecture
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.layers = layers
        self.num_heads = num_heads
        self.listing: Listing = listing
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.context = context

    def make(self, data: Dataset, *, seed: int, out: Path) -> Checkpoint:
        """Write a checkpoint of random weights with a tokenizer cut to ``data``.

        Args:
            data: the seed pool; its labels may be wrong, they only lend words.
            seed: of the weights.
            out: the folder to write.
        """
        tokenizer = self.tokenizer(data)
        model = self.model(tokenizer, seed)
        out.mkdir(parents=True, exist_ok=True)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        tokenizer.save_pretrained(out)
        model.save_pretrained(out)
        write_json(out / RECORD_FILE, {"format": ANSWER_FORMAT, "listing": self.listing})
        return checkpoint_at(out)

    def tokenizer(self, data: Iterable[Sample]) -> PreTrainedTokenizerFast:
        """A byte-level tokenizer in which the frequent words of ``data`` are one token each."""
        split = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        counts = Counter(word for text in _texts(data) for word, _ in split.pre_tokenize_str(text))
        marks = (
            mark + optional + end for mark in MARKS.values() for optional in ("", "?") for end in (", ", ")", ") ")
        )
        pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
        if self.listing == "signature":
            pieces += [word for mark in dict.fromkeys(marks) for word, _ in split.pre_tokenize_str(mark)]
        frequent = [word for word, n in counts.items() if n >= self.min_frequency and word not in pieces]
        frequent.sort(key=lambda word: (-counts[word], word))
        pieces += frequent[: max(0, self.vocab_size - len(pieces) - len(GLUE))]
        vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
        backend.pre_tokenizer = split
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
        backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in GLUE])
        tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=backend,
            pad_token=PAD,
            eos_token=END,
            additional_special_tokens=[START],
            clean_up_tokenization_spaces=False,
            model_max_length=self.context,
            padding_side="left",
        )
        tokenizer.chat_template = chat_template(self.listing)
        tokenizer.response_template = _RESPONSE
        return tokenizer

    def model(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> Lfm2ForCausalLM:
        """A model of random weights, the same for the same seed."""
        names = {"conv": "conv", "attention": "full_attention"}
        config = Lfm2Config(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            block_auto_adjust_ff_dim=False,
            num_hidden_layers=len(self.layers),
            layer_types=[names[layer] for layer in self.layers],
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_heads,
            conv_L_cache=3,
            max_position_embeddings=self.context,
            initializer_range=0.05,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Lfm2ForCausalLM(config)
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        return model


_RESPONSE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": f"{START}assistant\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r'\s*<tool_call>\s*\{\s*"name":\s*"(?P<name>[^"\\]+)",\s*"arguments":\s*',
            "close_pattern": r"\s*\}\s*</tool_call>",
            "repeats": True,
            "content": "json",
            "content_args": {"allow_non_json": True},
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close_pattern": r"\s*(?:<\|im_end\|>)", "content": "text"},
    },
}
"""How ``transformers serve`` reads calls out of an answer; without it they come back as plain content.

Arguments that are no JSON are handed on as they are, and an opening without a name stays content: read as one JSON
object, either would be a failure of the server (status 500) and not of the model.
"""


def _texts(data: Iterable[Sample]) -> Iterator[str]:
    """Everything of the pool that a prompt or an answer may say."""
    for sample in data:
        for tool in sample.tools:
            yield tool.name
            yield from tool.properties
        for message in (*sample.messages, *([sample.label.message()] if sample.label else [])):
            yield message.content
            for call in message.tool_calls:
                yield call.to_openai()["function"]["arguments"]
