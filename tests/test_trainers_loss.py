"""The loss on answers beside the one that each architecture computes of itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sloop.trainers.batches import IGNORED
from sloop.trainers.loss import answer_loss

SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head"), 4),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    **{"vocab_size": 99, "intermediate_size": 48, "num_key_value_heads": 4, "head_dim": 8, "moe_intermediate_size": 16},
    **{"num_experts_per_tok": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True},
}
"""Of a tiny model, under the names that configurations have for them."""
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"head_dim": None, "num_key_value_heads": 4},  # heads of several sizes
    {"head_dim": None, "num_key_value_heads": 4, "num_hidden_layers": 4},  # layers of several kinds
    {name: None for name in SIZES if name not in ("vocab_size", "hidden_size", "is_decoder")},
    {"rotary_dim": 4},
)
"""What is tried in turn until a model can be built and run; None: the configuration's own value."""
MOST_WEIGHTS = 20_000_000
QUICK = ("llama", "gpt2", "lfm2", "mamba", "granite", "gemma2", "minicpm3")
OFTEN = (
    *("qwen3", "smollm3", "bloom", "opt", "phi"),
    *("granitemoe", "cohere", "cohere2", "bitnet", "helium", "olmo2"),  # heads apart
)


def tiny(kind: str, **changes: Any) -> Any:
    """A model of random weights."""
    cls = CONFIG_MAPPING[kind]
    known = cls()
    sizes = {name: size for name, size in (SIZES | changes).items() if name in changes or hasattr(known, name)}
    config = cls(**{name: size for name, size in sizes.items() if size is not None and hasattr(known, name)})
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(f"{weights} weights")
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def losses(model: Any, shift: int = 0) -> tuple[float, float]:
    """Ours, and the model's own, of two texts of which the end is learnt; the second is padded.

    Args:
        model: its own loss expects labels that are ...
        shift: ... so many places before the token that they label.
    """
    ids = torch.randint(3, 90, (2, 24), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, :15] = labels[1, 20:] = IGNORED
    with torch.no_grad():
        ours = answer_loss(model, ids, labels) / (labels[:, 1:] != IGNORED).sum()
        theirs = model(input_ids=ids, labels=F.pad(labels, (0, shift), value=IGNORED)[:, shift:].contiguous())
        return ours.item(), theirs.loss.item()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in OFTEN else [])
        for kind in (*QUICK, *OFTEN)
        if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    ],
)
def test_the_loss_is_the_models_own(kind: str) -> None:
    ours, theirs = losses(tiny(kind))
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("granite", {"logits_scaling": 8.0}),
        ("gemma2", {"final_logit_softcapping": 0.05}),
        ("cohere", {"logit_scale": 9.0}),
    ],
)
def test_what_stands_behind_the_head_counts(kind: str, changes: dict[str, float]) -> None:
    ours, theirs = losses(tiny(kind, **changes))
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != pytest.approx(losses(tiny(kind))[0], rel=1e-3)


def test_only_what_carries_loss_reaches_the_head() -> None:
    model = tiny("llama")
    seen: list[torch.Size] = []
    model.get_output_embeddings().register_forward_hook(lambda _, __, made: seen.append(made.shape))
    losses(model)
    assert seen[0] == (1, 9 + 5, 99)
    assert seen[1] == (2, 24, 99)


def test_the_loss_of_experts_leaves_their_routers_out() -> None:
    model = tiny("mixtral", output_router_logits=True)
    ours, theirs = losses(model)
    assert ours < theirs
    model.config.output_router_logits = False
    assert ours == pytest.approx(losses(model)[1], rel=1e-5)


UNSHIFTED = (
    *("bart", "bigbird_pegasus", "mbart", "mvp", "pegasus", "cpmant", "trocr", "xlm"),
)  # fmt: skip
"""Their own loss takes labels that were moved by whoever calls: mostly decoders of translation models."""
NOT_TINY = {
    **dict.fromkeys(
        (
            *("blt", "deepseek_v32", "dots3_note", "emu3", "fuyu", "gemma3", "gemma4", "gemma4_unified", "git"),
            *("glm_moe_dsa", "got_ocr2", "llama4", "mllama", "moss_transcribe_diarize", "phi4_multimodal", "qwen3_5"),
            *("qwen3_5_moe", "musicgen", "musicgen_melody"),
        ),
        "it has parts with sizes of their own, for pictures, sound or bytes",
    ),
    **dict.fromkeys(
        (
            *("axk1", "bailing_hybrid", "bamba", "cohere_compass_text", "dbrx", "dots1", "dots3_note_text"),
            *("gemma3n_text", "gemma4_assistant", "gemma4_text", "gemma4_unified_assistant", "granitemoehybrid"),
            *("jamba", "kimi_linear", "lfm2_moe", "mamba2", "mimo_v2_flash", "qwen3_5_moe_text", "qwen3_5_text"),
            *("qwen3_next", "qwen4_exp", "qwen4_exp_text", "recurrent_gemma", "reformer", "xlstm", "zamba", "zamba2"),
            "zaya",
        ),
        "its heads and kinds of layers want a configuration written for it",
    ),
    **dict.fromkeys(
        ("blenderbot", "blenderbot-small", "marian", "plbart", "whisper", "xlnet", "xmod"),
        "its decoder takes an encoder, languages or sizes under other names",
    ),
    "prophetnet": "its own loss is of several tokens ahead",
    "gemma3n": "it wants the package timm",
}
"""What of the list is not compared, and why."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
def test_the_loss_of_every_architecture_is_its_own(kind: str) -> None:
    """A second each. Those of `NOT_TINY` would take a configuration of their own."""
    if kind in NOT_TINY:
        pytest.skip(NOT_TINY[kind])
    found = []
    for changes in VARIANTS:
        try:
            ours, theirs = losses(tiny(kind, **changes), shift=kind in UNSHIFTED)
            break
        except Exception as error:
            found.append(f"{type(error).__name__}: {str(error)[:80]}")
    else:
        pytest.fail(f"does not build: {found}")
    assert ours == pytest.approx(theirs, rel=1e-4)
