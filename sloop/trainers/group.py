"""GRPO and RLOO: several answers to a prompt are drawn, graded, and each weighed against the others."""
# No postponed annotations: the settings' types are read off the classes.

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from sloop.records.ranges import Heat, Weight, Within
from sloop.trainers.answers import shares
from sloop.trainers.reward import Reward
from sloop.trainers.trl import MODULES, Rendered, TRLTrainer, Work, table


@dataclass(kw_only=True)
class _Grouped(TRLTrainer):
    """What both share: a step is ``batch_size`` prompts, with ``generations`` answers to each."""

    MODULES: ClassVar[tuple[str, ...]] = (*MODULES, "sloop.trainers.group", "sloop.trainers.reward")

    generations: Annotated[int, Within(2, 1_024)]
    temperature: Heat
    beta: Weight
    epsilon: Annotated[float, Within(0, 1, above=True)]
    reward: Reward

    @property
    def at_once(self) -> int:
        """Rows of a part."""
        return self.parts(self.batch_size * self.generations)

    def copies(self, work: Work, weights: int) -> dict[str, int]:
        """A reference where there is something to hold against it."""
        return super().copies(work, weights if self.beta else 0)

    def trainer(self, work: Work, common: dict[str, Any]) -> Any:
        """TRL's trainer over the prompts."""
        made = self.method(
            work,
            {
                **common,
                "per_device_train_batch_size": self.parts(self.batch_size * self.generations),
                "num_generations": self.generations,
                "shuffle_dataset": False,
                "max_completion_length": self.max_answer,
                "temperature": self.temperature,
                "beta": self.beta,
                "epsilon": self.epsilon,
            },
            {
                "model": work.model,
                "reward_funcs": rewarding(work, self.reward),
                "train_dataset": table([{"prompt": str(place)} for place in work.places(self.batch_size)]),
                "processing_class": work.tokenizer,
            },
        )
        made.rows = work.rows
        return made

    @abstractmethod
    def method(self, work: Work, arguments: dict[str, Any], given: dict[str, Any]) -> Any:
        """TRL's trainer with these arguments in its configuration."""


def rewarding(work: Work, reward: Reward) -> Callable[..., list[float]]:
    """TRL's reward function: answers in tokens, as their text lacks the special ones by which calls are marked."""

    def graded(
        prompts: list[str], completion_ids: list[list[int]], log_metric: Callable[[str, float], None], **_: Any
    ) -> list[float]:
        answered = list(zip((work.rows[int(prompt)] for prompt in prompts), completion_ids, strict=True))
        for name, value in shares([work.reader.match(row, tokens) for row, tokens in answered]).items():
            log_metric(name, value)
        return [reward.of(row.sample, work.reader.calls(row, tokens)) for row, tokens in answered]

    return graded


class _GRPO(Rendered, GRPOTrainer): ...


@dataclass(kw_only=True)
class GRPO(_Grouped):
    """Group relative policy optimization (Shao et al., 2024)."""

    loss: Literal["grpo", "dapo", "dr_grpo", "bnpo"]
    scale_rewards: Literal["group", "batch", "none"]

    def method(self, work: Work, arguments: dict[str, Any], given: dict[str, Any]) -> Any:
        """GRPO's."""
        return _GRPO(args=GRPOConfig(**arguments, loss_type=self.loss, scale_rewards=self.scale_rewards), **given)


class _RLOO(Rendered, RLOOTrainer): ...


@dataclass(kw_only=True)
class RLOO(_Grouped):
    """REINFORCE leave-one-out (Ahmadian et al., 2024): an answer's baseline is the mean of the others."""

    normalize_advantages: bool

    def method(self, work: Work, arguments: dict[str, Any], given: dict[str, Any]) -> Any:
        """RLOO's."""
        return _RLOO(args=RLOOConfig(**arguments, normalize_advantages=self.normalize_advantages), **given)
