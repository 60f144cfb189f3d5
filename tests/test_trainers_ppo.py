"""PPO's formulas against independent ones in plain numpy, and a toy problem on which the reward must rise.

That the trainer around them trains, repeats itself and resumes is held by ``test_trainers_trl.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("trl", reason="needs TRL: pip install 'sloop[trl]'")

from sloop.trainers.ppo import gae, policy_loss, value_loss, whitened

SHAPES = [((1, 1), [1]), ((3, 7), [7, 4, 1]), ((5, 12), [12, 11, 3, 8, 2])]


def drawn(shape: tuple[int, int], lengths: list[int], seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(float)
    return (*(rng.normal(size=shape) * mask for _ in range(4)), mask)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(array) for array in arrays]


@pytest.mark.parametrize(("shape", "lengths"), SHAPES)
@pytest.mark.parametrize(("gamma", "decay"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_the_published_sum(
    shape: tuple[int, int], lengths: list[int], gamma: float, decay: float
) -> None:
    """Equation 16 of Schulman et al. (2016) as the sum that it is: A_t = sum over l of (gamma lambda)^l d_(t+l)."""
    rewards, values, _, _, mask = drawn(shape, lengths)
    found, returns = gae(*tensors(rewards, values, mask), gamma, decay)
    for row, length in enumerate(lengths):
        v = np.append(values[row, :length], 0.0)
        change = rewards[row, :length] + gamma * v[1:] - v[:-1]
        for step in range(length):
            wanted = sum((gamma * decay) ** ahead * change[step + ahead] for ahead in range(length - step))
            assert found[row, step].item() == pytest.approx(wanted)
            assert returns[row, step].item() == pytest.approx(wanted + v[step])
        assert not found[row, length:].any()
        assert not returns[row, length:].any()


def test_with_lambda_1_the_returns_are_the_discounted_rewards() -> None:
    rewards, values, _, _, mask = drawn(*SHAPES[1])
    _, returns = gae(*tensors(rewards, values, mask), 0.9, 1.0)
    for row, length in enumerate(SHAPES[1][1]):
        wanted = sum(0.9**step * rewards[row, step] for step in range(length))
        assert returns[row, 0].item() == pytest.approx(wanted)


@pytest.mark.parametrize(("shape", "lengths"), SHAPES)
def test_the_clipped_objective_is_the_published_one(shape: tuple[int, int], lengths: list[int]) -> None:
    """Equation 7 of Schulman et al. (2017), token by token."""
    logs, old, advantages, _, mask = drawn(shape, lengths)
    total = 0.0
    for row, length in enumerate(lengths):
        for step in range(length):
            ratio = np.exp(logs[row, step] - old[row, step])
            bounded = min(max(ratio, 0.8), 1.2)
            total += min(ratio * advantages[row, step], bounded * advantages[row, step])
    found = policy_loss(*tensors(logs, old, advantages, mask), 0.2)
    assert found.item() == pytest.approx(-total / sum(lengths))


@pytest.mark.parametrize(("shape", "lengths"), SHAPES)
def test_the_values_loss_is_the_one_that_is_clipped_in_practice(shape: tuple[int, int], lengths: list[int]) -> None:
    """As CleanRL has it (vwxyzjn/cleanrl, ppo.py, clip_vloss), over the tokens of an answer."""
    values, old, returns, _, mask = drawn(shape, lengths)
    parts = []
    for row, length in enumerate(lengths):
        v, o, r = values[row, :length], old[row, :length], returns[row, :length]
        parts.append(np.maximum((v - r) ** 2, (o + np.clip(v - o, -0.3, 0.3) - r) ** 2))
    found = value_loss(*tensors(values, old, returns, mask), 0.3)
    assert found.item() == pytest.approx(0.5 * np.concatenate(parts).mean())


def test_no_gradient_flows_once_a_chance_has_moved_far_enough() -> None:
    old, mask = torch.zeros(1, 2), torch.ones(1, 2)
    logs = torch.tensor([[0.5, -0.5]], requires_grad=True)  # ratios 1.65 and 0.61, both outside 0.8 to 1.2
    policy_loss(logs, old, torch.tensor([[1.0, -1.0]]), mask, 0.2).backward()
    assert logs.grad is not None
    assert not logs.grad.any()  # both have gone the right way already
    policy_loss(logs, old, torch.tensor([[-1.0, 1.0]]), mask, 0.2).backward()
    assert logs.grad.all()  # both went the wrong way


def test_whitened_advantages_have_mean_0_and_variance_1_over_the_tokens() -> None:
    values, _, _, _, mask = tensors(*drawn(*SHAPES[2]))
    found = whitened(values, mask)[mask.bool()]
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.square().mean().item() == pytest.approx(1, abs=1e-4)


def test_by_these_formulas_the_reward_of_a_toy_problem_rises() -> None:
    """A table of chances learns to write one of 125 words of three letters, for which alone it is paid."""
    torch.manual_seed(0)
    letters, length, rows = 5, 3, 64
    chances = torch.zeros(length, letters, requires_grad=True)
    expected = torch.zeros(length, requires_grad=True)
    optimizer = torch.optim.Adam([chances, expected], lr=0.05)
    word, mask = torch.tensor([1, 4, 2]), torch.ones(rows, length)
    told = []

    def logs_of(written: torch.Tensor) -> torch.Tensor:
        return chances.log_softmax(-1)[torch.arange(length), written]

    for _ in range(120):
        with torch.no_grad():
            written = torch.multinomial(chances.softmax(-1), rows, replacement=True).T
            old, values = logs_of(written), expected.expand(rows, length).clone()
            paid = torch.zeros(rows, length)
            paid[:, -1] = (written == word).float().mean(-1) ** 2  # the whole word is worth more than its parts
            advantages, returns = gae(paid, values, mask, 1.0, 0.95)
            advantages = whitened(advantages, mask)
        told.append((written == word).all(-1).float().mean().item())
        for _ in range(4):
            policy = policy_loss(logs_of(written), old, advantages, mask, 0.2)
            (policy + 0.1 * value_loss(expected.expand(rows, length), values, returns, mask, 0.2)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert told[0] < 0.1
    assert sum(told[-10:]) / 10 > 0.9
