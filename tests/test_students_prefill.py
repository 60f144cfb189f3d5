"""Prompts read in parts: what is written after them is what is written after prompts that are read at once."""

from __future__ import annotations

import random

import pytest
import torch
from models import WEATHER, ask
from transformers import DynamicCache, Lfm2Config, Lfm2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sloop.students import prefill
from sloop.students.answering import beginning, plan_batches
from sloop.students.decoding import Draws, generate

STOPS = frozenset([7])
SIZES = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        **SIZES, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2
    )
    return LlamaForCausalLM(config).eval()


def _prompts() -> list[list[int]]:
    """Some of like beginnings, in two depths, some of none; one twice, one that begins another, one of one token."""
    draw = random.Random(0)
    some = lambda size: [draw.randrange(300) for _ in range(size)]  # noqa: E731
    shared = some(60)
    deeper = shared + some(40)
    found = [shared + some(draw.randrange(1, 20)) for _ in range(4)] + [deeper + some(5) for _ in range(3)]
    found += [some(draw.randrange(2, 90)) for _ in range(4)]
    return [*found, found[0], found[0][:-1], some(1)]


@pytest.mark.parametrize("tokens", [1, 100, 10**6])
def test_what_is_written_is_the_same_however_prompts_are_read(model: PreTrainedModel, tokens: int) -> None:
    prompts = _prompts()
    most = [80 - number for number in range(len(prompts))]  # beyond the room that a cache begins with
    once, parts = (generate(model, prompts, most, STOPS, prefill_tokens=given) for given in (None, tokens))
    assert [answer.tokens for answer in parts] == [answer.tokens for answer in once]
    for answer, same in zip(parts, once, strict=True):
        assert answer.logprobs == pytest.approx(same.logprobs, abs=1e-4)


def test_what_is_drawn_is_the_same_however_prompts_are_read(model: PreTrainedModel) -> None:
    prompts = _prompts()
    found = [
        generate(
            model, prompts, [20] * len(prompts), STOPS, draws=Draws([(0.8, n) for n in range(len(prompts))]),
            prefill_tokens=given,
        )
        for given in (None, 100)
    ]  # fmt: skip
    assert [answer.tokens for answer in found[0]] == [answer.tokens for answer in found[1]]


def test_a_shared_beginning_is_read_once_and_nothing_is_masked_or_padded_alone(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    forward = model.forward

    def told(*args: object, **given: torch.Tensor) -> object:
        assert "attention_mask" not in given
        seen.append(tuple(given["input_ids"].shape))
        return forward(*args, **given)

    monkeypatch.setattr(model, "forward", told)
    shared = list(range(100, 150))
    with torch.inference_mode():
        prefill.read(model, [[*shared, 1], [*shared, 2, 3], [*shared, 4, 5], [9] * 30], tokens=5)
    assert sorted(seen) == [(1, 2), (1, 30), (1, 50), (2, 2)]


def test_a_cache_with_room_is_a_cache_without(model: PreTrainedModel) -> None:
    draw, states = torch.Generator().manual_seed(0), []
    plain, roomy = DynamicCache(config=model.config).layers[0], None
    for length in (5, 1, prefill.ROOM, 1, 2 * prefill.ROOM):
        keys, values = (torch.randn(3, 2, length, 4, generator=draw) for _ in range(2))
        whole = plain.update(keys, values)
        if roomy is None:
            roomy = prefill.Roomy(keys, values, 3, length)
            for row in range(3):
                roomy.put(row, keys[row], values[row])
        else:
            states.append((whole, roomy.update(keys, values)))
    assert roomy is not None
    for whole, same in states:
        assert all(map(torch.equal, whole, same))
    kept = torch.tensor([2, 0])
    plain.reorder_cache(kept)
    roomy.reorder_cache(kept)
    assert torch.equal(plain.keys, roomy.keys)
    assert torch.equal(plain.values, roomy.values)


def test_a_model_that_keeps_more_than_keys_and_values_is_read_at_once() -> None:
    torch.manual_seed(0)
    config = Lfm2Config(
        **SIZES, num_attention_heads=4, num_key_value_heads=2, layer_types=["conv", "full_attention"],
        block_auto_adjust_ff_dim=False,
    )  # fmt: skip
    model = Lfm2ForCausalLM(config).eval()
    assert not prefill.can_read(model)
    prompts = [prompt for prompt in _prompts() if len(prompt) > 1]
    once, asked = (generate(model, prompts, [9] * len(prompts), STOPS, prefill_tokens=given) for given in (None, 50))
    assert asked == once


def test_prompts_that_begin_alike_are_put_into_one_batch() -> None:
    samples = [ask("b"), ask("a", tools=(WEATHER,)), ask("a"), ask("b", tools=(WEATHER,))]
    plan = plan_batches(samples, 2, beginning)
    assert list(plan.values()) == [[samples[1].id, samples[3].id], [samples[2].id, samples[0].id]]
