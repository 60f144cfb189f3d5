"""LoRA (Hu et al., 2021, https://arxiv.org/abs/2106.09685) by peft: small matrices beside frozen weights."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch.nn import Linear
from transformers.pytorch_utils import Conv1D

from sloop.records import Record, UserError
from sloop.records.ranges import Name, Within

ALL_LINEAR = "all-linear"


class LoraSettings(Record):
    """As they stand in ``conf/trainer/*.yaml``, which says what each value is."""

    rank: Annotated[int, Within(0, 4_096)]
    alpha: Annotated[int, Within(1, 10**6)]
    dropout: Annotated[float, Within(0, 0.99)]
    targets: Name | Annotated[list[Name], Field(min_length=1)]
    layers: Annotated[int, Within(1, 10_000)] | None


def attach(model: Any, settings: LoraSettings) -> Any:
    """The model with adapters that alone are trained; itself where ``settings.rank`` is 0.

    The adapters are drawn from PyTorch's generator: seed it before.

    Raises:
        UserError: peft is not installed, or the model has no layers of these names.
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
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.targets if settings.layers is None else _named(model, settings.targets),
        layers_to_transform=_last(model, settings.layers),
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(
            f"trainer.lora.targets={settings.targets}: {' '.join(str(error).split())[:300]} Give {ALL_LINEAR}, or "
            "names of the model's layers, such as trainer.lora.targets=[q_proj,v_proj]."
        ) from error


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


def merged(model: Any) -> Any:
    """The plain model, its adapters added to the weights: what `attach` made, or itself."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
