# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Hard attention by sampling: the REINFORCE estimate against exactly summed toy cases."""

import itertools

import numpy as np
import pytest
import torch

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.glimpse import log_probability, reinforce_loss


def toy(glimpses: int, seed: int = 0):
    """A policy over 2 x 2 patches, all its ordered choices, and a reward for each that knows no pattern."""
    torch.manual_seed(seed)
    module = build('glimpse', 2, glimpses=glimpses, patch=2, hidden=3).double()
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.7)
    choices = list(itertools.permutations(range(4), glimpses))
    rewards = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(choices)))
    x = torch.from_numpy(np.random.default_rng(seed + 1).standard_normal((1, 2, 4, 4)))
    return module, torch.tensor(choices), rewards, x


def policy_gradient(module, loss) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.score.parameters()))])


@pytest.mark.parametrize('baseline', [0.0, -3.0, 40.0])
@pytest.mark.parametrize('glimpses', [1, 2, 3])
def test_expected_estimate_is_the_exact_gradient(glimpses, baseline):
    """Sum over every choice of probability x estimate = gradient of the exactly summed expected reward."""
    module, choices, rewards, x = toy(glimpses)
    torch.nn.init.zeros_(module.baseline.weight)
    torch.nn.init.constant_(module.baseline.bias, baseline)
    expected_reward = sum(module(x, choice[None])[1]['log_prob'].exp()[0] * reward
                          for choice, reward in zip(choices, rewards, strict=True))
    exact = policy_gradient(module, -expected_reward)
    summed = torch.zeros_like(exact)
    for choice, reward in zip(choices, rewards, strict=True):
        _, weights = module(x, choice[None])
        probability = float(weights['log_prob'].detach().exp())
        summed += probability * policy_gradient(module, reinforce_loss(weights, reward[None]))
    assert exact.abs().max() > 1e-3
    torch.testing.assert_close(summed, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize('glimpses', [1, 2, 4])
def test_probabilities_of_all_choices_sum_to_one(glimpses):
    module, choices, _, x = toy(glimpses)
    _, weights = module(x.expand(len(choices), -1, -1, -1), choices)
    assert abs(float(weights['log_prob'].detach().exp().sum()) - 1) < 1e-12


def test_log_probability_by_hand():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    logits = torch.from_numpy(np.log(p))[None] + 7.0
    found = log_probability(logits, torch.tensor([[2, 0, 3]]))
    assert abs(float(found.exp()) - 0.15 * (0.5 / 0.85) * (0.05 / 0.35)) < 1e-12


def test_sampled_choices_have_the_stated_probabilities():
    """30000 draws of two out of four, every ordered pair within five standard deviations."""
    module, choices, _, x = toy(2)
    module.train()
    torch.manual_seed(1)
    n = 30000
    with torch.no_grad():
        logits = module(x, choices[:1])[1]['policy'].flatten(1).log()
        drawn = module.choose(logits.expand(n, -1))
        probability = log_probability(logits.expand(len(choices), -1), choices).exp()
    for choice, p in zip(choices, probability, strict=True):
        share = float((drawn == choice).all(dim=1).double().mean())
        assert abs(share - p) < 5 * float((p * (1 - p) / n).sqrt()), choice


def test_baseline_lowers_the_variance():
    module, choices, rewards, x = toy(1)
    rewards = rewards + 10.0
    spread = []
    torch.nn.init.zeros_(module.baseline.weight)
    for baseline in (0.0, 10.0):
        torch.nn.init.constant_(module.baseline.bias, baseline)
        estimates, probabilities = [], []
        for choice, reward in zip(choices, rewards, strict=True):
            _, weights = module(x, choice[None])
            probabilities.append(weights['log_prob'].detach().exp())
            estimates.append(policy_gradient(module, reinforce_loss(weights, reward[None])))
        p, estimates = torch.stack(probabilities), torch.stack(estimates)
        mean = (p * estimates).sum(dim=0)
        spread.append(float((p * (estimates - mean) ** 2).sum()))
    assert spread[1] < 0.1 * spread[0]


def test_training_finds_the_rewarding_patch():
    torch.manual_seed(0)
    module = build('glimpse', 1, glimpses=1, patch=4, hidden=4)
    optimiser = torch.optim.Adam(module.parameters(), 3e-2)

    def scenes(count):
        where = torch.randint(0, 9, (count,))
        x = 0.1 * torch.randn(count, 1, 12, 12)
        for n, w in enumerate(where):
            x[n, 0, 4 * (w // 3) + 1, 4 * (w % 3) + 2] += 3.0
        return x, where
    for _ in range(150):
        x, where = scenes(64)
        _, weights = module(x)
        reward = (weights['choice'][:, 0] == where).float()
        optimiser.zero_grad()
        reinforce_loss(weights, reward).backward()
        optimiser.step()
    x, where = scenes(200)
    found = module.eval()(x)[1]['choice'][:, 0]
    assert float((found == where).float().mean()) > 0.9  # chance: 1 / 9


@pytest.mark.parametrize('shape', [(2, 2, 8, 8), (1, 2, 7, 13)])
def test_only_the_glimpses_are_seen(shape):
    torch.manual_seed(0)
    module = build('glimpse', 2, glimpses=3, patch=4)
    x = torch.randn(*shape)
    y, weights = module(x)
    assert torch.equal(y, x * weights['spatial'])
    assert set(weights['spatial'].unique().tolist()) <= {0.0, 1.0}
    rows, columns = -(-shape[2] // 4), -(-shape[3] // 4)
    assert weights['policy'].shape == (shape[0], 1, rows, columns)
    torch.testing.assert_close(weights['policy'].sum(dim=(1, 2, 3)), torch.ones(shape[0]))
    for n, choice in enumerate(weights['choice'].tolist()):
        assert len(set(choice)) == 3
        for patch in range(rows * columns):
            i, j = 4 * (patch // columns), 4 * (patch % columns)
            assert (weights['spatial'][n, 0, i:i + 4, j:j + 4] == float(patch in choice)).all()


def test_evaluation_takes_the_most_probable_and_repeats():
    torch.manual_seed(0)
    module, x = build('glimpse', 2, glimpses=2, patch=4), torch.randn(3, 2, 12, 12)
    module.train()
    draws = {tuple(module(x)[1]['choice'].flatten().tolist()) for _ in range(10)}
    assert len(draws) > 1, 'training samples'
    module.eval()
    _, weights = module(x)
    assert torch.equal(weights['choice'], weights['policy'].flatten(1).topk(2).indices)
    assert torch.equal(weights['choice'], module(x)[1]['choice'])


def test_more_glimpses_than_patches_see_everything():
    x = torch.randn(1, 2, 8, 8)
    y, weights = build('glimpse', 2, glimpses=9, patch=4)(x)
    assert torch.equal(x, y) and torch.isfinite(weights['log_prob']).all()
