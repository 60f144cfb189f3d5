"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) by peft: small matrices beside frozen weights; and QLoRA
(Dettmers et al., 2023, https://arxiv.org/abs/2305.14314), where those are kept in 4 bits, by bitsandbytes.
"""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.nn import Linear
from transformers import BitsAndBytesConfig
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.pytorch_utils import Conv1D

from sloop.records import Record, UserError
from sloop.records.ranges import Name, Within
from sloop.students.local import DTYPES, DTypeName, load_model
from sloop.students.trust import check_files
from sloop.trainers.ranks import is_first, ranks

ALL_LINEAR = "all-linear"

# Transformers and peft import bitsandbytes, which warns, where a CPU multiplies bf16, that it lacks a kernel of the hub
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


class LoraSettings(Record):
    """As they stand in ``conf/trainer/*.yaml``, which says what each value is."""

    rank: Annotated[int, Within(0, 4_096)]
    alpha: Annotated[int, Within(1, 10**6)]
    dropout: Annotated[float, Within(0, 0.99)]
    targets: Name | Annotated[list[Name], Field(min_length=1)]
    layers: Annotated[int, Within(1, 10_000)] | None
    bits: Literal[4] | None


def load_trained(folder: Path, settings: LoraSettings, dtype: DTypeName, device: str, *, sharded: bool = False) -> Any:
    """The model in a folder as it is trained: in single precision, or in 4 bits beside which adapters are.

    Args:
        folder: of a checkpoint.
        settings: say which.
        dtype: in which is computed with 4 bits.
        device: where it is loaded.
        sharded: every rank loads a part of each weight (FSDP2).

    Raises:
        UserError: it cannot be loaded so, or nothing but adapters could be trained and there are none.
    """
    if sharded:
        if settings.bits:
            raise UserError("trainer.lora.bits=4: weights in 4 bits are not cut into shards. Give distributed=ddp.")
        shards = DistributedConfig(fsdp_size=ranks())
        return load_model(folder, torch.float32, how={"distributed_config": shards})
    if settings.bits is None:
        return load_model(folder, torch.float32).to(device)
    if not settings.rank:
        raise UserError(
            f"trainer.lora.bits={settings.bits}: weights in {settings.bits} bits are not trained. Give them adapters: "
            "trainer.lora.rank=16, or leave the weights as they are: trainer.lora.bits=null"
        )
    if missing := [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]:
        raise UserError(
            f"trainer.lora.bits={settings.bits}: the package {missing[0]} is not installed: pip install "
            "'sloop[qlora]', or leave the weights as they are: trainer.lora.bits=null"
        )
    quantized = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES[dtype],
    )
    model = load_model(folder, torch.float32, how={"quantization_config": quantized, "device_map": device})
    for layer in model.modules():
        # Where a CPU multiplies bf16, bitsandbytes lays weights out anew at the first answer and keeps them so: nothing
        # is learnt through such a layer any more, and rows shorter than its blocks cannot be laid out at all
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model


def attach(model: Any, settings: LoraSettings) -> Any:
    """The model with adapters that alone are trained; itself where ``settings.rank`` is 0.

    The adapters are drawn from PyTorch's generator: seed it before.

    Raises:
        UserError: peft is not installed, the model has no layers of these names, or they are its embeddings or head and
            it has the same weights for both.
    """
    if not settings.rank:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UserError(
            f"trainer.lora.rank={settings.rank}: the package peft is not installed: pip install 'sloop[lora]', or "
            "train all weights: trainer.lora.rank=0"
        ) from error
    whole = settings.targets == ALL_LINEAR and settings.layers is None
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is not None and head.weight is words.weight
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=ALL_LINEAR if whole else _named(model, settings.targets),
        layers_to_transform=_last(model, settings.layers),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that peft asks transformers for
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"trainer.lora.targets={settings.targets}: {' '.join(str(error).split())[:300]} Give {ALL_LINEAR}, or "
            "names of the model's layers, such as trainer.lora.targets=[q_proj,v_proj]."
        ) from error
    if tied and (adapted.get_input_embeddings() is not words or adapted.get_output_embeddings() is not head):
        raise UserError(
            f"trainer.lora.targets={settings.targets}: the model's embeddings and its head are the same weights, so "
            "that what is learnt beside one of them cannot be added to it without changing the other. Leave both out: "
            f"trainer.lora.targets={ALL_LINEAR}"
        )
    return adapted


def _named(model: Any, targets: str | list[str]) -> list[str]:
    """Names of layers, where peft wants a list of them."""
    if targets != ALL_LINEAR:
        return [targets] if isinstance(targets, str) else targets
    head = model.get_output_embeddings()
    linear = [name for name, layer in model.named_modules() if isinstance(layer, Linear | Conv1D) and layer is not head]
    return sorted({name.rpartition(".")[2] for name in linear})


def _last(model: Any, count: int | None) -> list[int] | None:
    """The places of the last so many layers of a model; None: all."""
    if count is None:
        return None
    layers = model.config.get_text_config().num_hidden_layers
    if count > layers:
        raise UserError(
            f"trainer.lora.layers={count}: the model has {layers} layers. Give 1 to {layers}, or null: all."
        )
    return list(range(layers - count, layers))


def whole_bytes(folder: Path) -> int:
    """Bytes of the weights in a folder in single precision."""
    return 4 * (check_files(folder) or 0)


def merged(model: Any, folder: Path, settings: LoraSettings, *, sharded: bool = False) -> Any:
    """The plain model, its adapters added to the weights: what `attach` made, or itself.

    Adapters that were trained beside 4 bits are added to the weights that those were made of, as nothing else could
    keep what they add. Shards are gathered by the first rank; the others get nothing.

    Args:
        model: as it was trained.
        folder: that it was loaded from.
        settings: of the adapters.
        sharded: every rank has a part of each weight.
    """
    if sharded:
        gathered = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if not is_first():
            return None
        model = attach(load_model(folder, torch.float32), settings)
        model.load_state_dict(gathered)
    if not settings.rank:
        return model
    if settings.bits is None:
        return model.merge_and_unload()
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    whole = attach(load_model(folder, torch.float32), settings)
    set_peft_model_state_dict(whole, get_peft_model_state_dict(model))
    return whole.merge_and_unload()
