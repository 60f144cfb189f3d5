"""Proximal policy optimization (Schulman et al., 2017), which TRL no longer has: its formulas, and a step by them.

One answer to each prompt is drawn. Every token costs the divergence from the start's weights, the last one earns the
reward; a head on the last hidden state says what is still to come, and generalized advantage estimation (Schulman et
al., 2016) says how much better each token was than that. Several updates follow, none of which may move a token's
chance far.
"""
# No postponed annotations: the settings' types are read off the class.

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from transformers import Trainer, TrainingArguments, default_data_collator

from sloop.calls.match.strict import Match
from sloop.records import Checkpoint, Sample, UserError
from sloop.records.ranges import Heat, Positive, Share, Weight, Within
from sloop.students.decoding import Draws, draw_seed, generate
from sloop.trainers.answers import shares
from sloop.trainers.ranks import is_rank
from sloop.trainers.reward import Reward
from sloop.trainers.trl import MODULES, TRLTrainer, Work, table

HEAD = "sloop_value_head"
"""Name of the head on the model while it is trained; the checkpoint lacks it."""
Width = Annotated[float, Within(0, 1, above=True)]


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, decay: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimation: A_t = d_t + gamma * decay * A_(t+1), d_t = r_t + gamma * V_(t+1) - V_t.

    Args:
        rewards: (batch, length) of each token.
        values: (batch, length) before each token.
        mask: (batch, length), 1 on tokens; they stand before the padding, and after the last one nothing is to come.
        gamma: what the next token's reward is worth now.
        decay: lambda; 1 trusts the rewards alone, 0 the values.

    Returns:
        Advantages, and the returns that the values should have been, 0 on padding.
    """
    values = values * mask
    advantages = torch.zeros_like(values)
    later = torch.zeros_like(values[:, 0])
    following = torch.zeros_like(values[:, 0])
    for step in reversed(range(values.shape[1])):
        change = rewards[:, step] + gamma * following - values[:, step]
        later = (change + gamma * decay * later) * mask[:, step]
        following = values[:, step]
        advantages[:, step] = later
    return advantages, advantages + values


def mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens, of whatever row."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whitened(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of mean 0 and variance 1 over the tokens."""
    centred = values - mean(values, mask)
    return centred * (mean(centred.square(), mask) + 1e-8).rsqrt() * mask


def policy_loss(
    logs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """The clipped objective, to be minimised: -min(r A, clip(r, 1 - epsilon, 1 + epsilon) A), r = exp(logs - old)."""
    ratio = (logs - old).exp()
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return mean(torch.maximum(-advantages * ratio, -advantages * clipped), mask)


def value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """Half the squared error of the values, or of them moved no further than ``epsilon``, where that is more."""
    clipped = old + (values - old).clamp(-epsilon, epsilon)
    return 0.5 * mean(torch.maximum((values - returns).square(), (clipped - returns).square()), mask)


class _Rollout(NamedTuple):
    """Answers to some prompts; tensors are (batch, ...), the answers' tokens being the last ones of ``ids``."""

    ids: torch.Tensor
    attention: torch.Tensor
    mask: torch.Tensor
    old: torch.Tensor
    start: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    share: float = 1.0
    """Of the tokens of a step, times its parts."""


class _PPO(Trainer):
    loss_is_scaled_for_ga = False

    def __init__(self, settings: "PPO", work: Work, **given: Any) -> None:
        self.settings = settings
        self.work = work
        self.places = work.places(settings.batch_size)
        self.start = work.reference()
        with torch.random.fork_rng(devices=[]):
            head = torch.nn.Linear(work.model.get_input_embeddings().embedding_dim, 1)
        torch.nn.init.zeros_(head.weight)  # nothing is expected yet
        torch.nn.init.zeros_(head.bias)
        setattr(work.model, HEAD, head.to(work.model.device))
        self.rollouts: list[_Rollout] = []
        """The parts of a step."""
        self.left: list[_Rollout] = []
        """Those of this step that are still to come."""
        self.shown: dict[str, float] = {}
        super().__init__(
            model=work.model, processing_class=work.tokenizer, data_collator=default_data_collator, **given
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one update on some answers, which are drawn before the first, those of all its parts at once."""
        settings = self.settings
        if not self.left:
            if self.state.global_step % settings.updates == 0:
                self.rollouts = self._roll_out(model)
            self.left = list(self.rollouts)
        seen = self.left.pop(0)
        logs, values = self._forward(model, seen.ids, seen.attention, seen.mask)
        policy = policy_loss(logs, seen.old, seen.advantages, seen.mask, settings.epsilon)
        value = value_loss(values, seen.values, seen.returns, seen.mask, settings.value_epsilon)
        return seen.share * (policy + settings.value_weight * value)

    @torch.no_grad()
    def _roll_out(self, model: Any) -> list[_Rollout]:
        settings, step = self.settings, self.state.global_step
        first = step // settings.updates * settings.batch_size
        places = self.places[first : first + settings.batch_size]
        size = settings.at_once
        model.eval()
        parts = [self._answered(model, step, at, places[at : at + size]) for at in range(0, len(places), size)]
        model.train()
        seen = [part for part, _ in parts]
        told = [row for _, rows in parts for row in rows]
        tokens = sum(part.mask.sum().item() for part in seen)
        flat = torch.cat([part.advantages[part.mask.bool()] for part in seen])
        sizes = [int(part.mask.sum()) for part in seen]
        even: Any = whitened(flat, torch.ones_like(flat))
        self.shown = {
            "reward": sum(score for score, _ in told) / len(told),
            "kl": sum(((part.old - part.start) * part.mask).sum().item() for part in seen) / len(told),
            "completions/mean_length": tokens / len(told),
            **shares([match for _, match in told]),
        }
        return [
            part._replace(
                advantages=torch.zeros_like(part.advantages).masked_scatter(part.mask.bool(), one),
                share=len(seen) * part.mask.sum().item() / tokens,
            )
            for part, one in zip(seen, even.split(sizes), strict=True)
        ]

    def _answered(
        self, model: Any, step: int, at: int, places: list[int]
    ) -> tuple[_Rollout, list[tuple[float, Match]]]:
        """Answers to some of a step's prompts, from the one at ``at`` on; their rewards, and how right they are."""
        settings, work = self.settings, self.work
        rows = [work.rows[place] for place in places]
        drawn = [[work.seed, "ppo", step, number, place] for number, place in enumerate(places, start=at)]
        draws = Draws([(settings.temperature, draw_seed(parts)) for parts in drawn])
        prompts = [row.example.prompt for row in rows]
        lengths = [settings.max_answer] * len(rows)
        answers = [written.tokens for written in generate(model, prompts, lengths, work.reader.stops, None, draws)]
        laid_out = _laid_out(prompts, answers, work.tokenizer.pad_token_id)
        ids, attention, mask = (part.to(model.device) for part in laid_out)
        old, values = self._forward(model, ids, attention, mask)
        with model.disable_adapter() if self.start is None else nullcontext():
            start, _ = self._forward(self.start or model, ids, attention, mask)
        answered = list(zip(rows, answers, strict=True))
        scores = [settings.reward.of(row.sample, work.reader.calls(row, answer)) for row, answer in answered]
        rewards = -settings.beta * (old - start) * mask
        rewards[torch.arange(len(rows)), mask.sum(-1).long() - 1] += torch.tensor(scores, device=rewards.device)
        advantages, returns = gae(rewards, values, mask, settings.gamma, settings.decay)
        right = [work.reader.match(row, answer) for row, answer in answered]
        rollout = _Rollout(ids, attention, mask, old, start, values, advantages, returns)
        return rollout, list(zip(scores, right, strict=True))

    def _forward(
        self, model: Any, ids: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of every token of the answers, and what the head expected before it; the start has none."""
        width = mask.shape[1]
        seen = model(
            input_ids=ids,
            attention_mask=attention,
            position_ids=(attention.cumsum(-1) - 1).clamp(min=0),
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=width + 1,
        )
        chances = (seen.logits[:, :-1].float() / self.settings.temperature).log_softmax(-1)
        logs = chances.gather(-1, ids[:, -width:, None])[..., 0] * mask
        head = getattr(model, HEAD, None)
        if head is None:
            return logs, torch.zeros_like(logs)
        return logs, head(seen.hidden_states[-1][:, -width - 1 : -1].float())[..., 0] * mask

    def train(self, *given: Any, **named: Any) -> Any:
        """Train, and take the head off."""
        done = super().train(*given, **named)
        delattr(self.work.model, HEAD)
        return done

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Beside the loss, how right the drawn answers are."""
        super().log({**logs, **self.shown}, start_time)


def _laid_out(
    prompts: list[list[int]], answers: list[list[int]], pad: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, all answers beginning in one column; which of them are no padding; and which of the answers' are not."""
    before, after = max(map(len, prompts)), max(map(len, answers))
    ids = torch.full((len(prompts), before + after), pad)
    attention = torch.zeros_like(ids)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, before - len(prompt) : before + len(answer)] = torch.tensor(prompt + answer)
        attention[row, before - len(prompt) : before + len(answer)] = 1
    return ids, attention, attention[:, before:].float()


@dataclass(kw_only=True)
class PPO(TRLTrainer):
    """A step is an update on ``batch_size`` answers, which serve ``updates`` steps."""

    MODULES: ClassVar[tuple[str, ...]] = (*MODULES, "sloop.trainers.ppo", "sloop.trainers.reward")

    updates: Positive
    temperature: Heat
    beta: Weight
    epsilon: Width
    value_epsilon: Annotated[float, Within(0, 1_000, above=True)]
    value_weight: Weight
    gamma: Share
    decay: Share
    reward: Reward

    def steps_for(self, start: Checkpoint, data: Iterable[Sample], epochs: float) -> int:
        """Steps of so many passes, each of which goes on for all updates on its answers."""
        return self.updates * super().steps_for(start, data, epochs)

    def trainer(self, work: Work, common: dict[str, Any]) -> Trainer:
        """The trainer over the prompts.

        Raises:
            UserError: it is one of several processes.
        """
        if is_rank():
            raise UserError(
                "trainer=ppo weighs all answers of a step against each other, in one process. Leave distributed out, "
                "or give trainer=grpo or rloo."
            )
        if self.lora.rank:
            common["save_strategy"] = "no"  # what peft saves lacks the head: such a training begins anew
        # A state within the updates on some answers would lack them
        common["save_steps"] = -(-self.save_every // self.updates) * self.updates
        return _PPO(
            self,
            work,
            args=TrainingArguments(**common, per_device_train_batch_size=self.at_once, remove_unused_columns=False),
            # As many as there are to be, whichever they are: `_roll_out` knows
            train_dataset=table([{"row": row} for row in range(work.steps * self.batch_size)]),
        )
