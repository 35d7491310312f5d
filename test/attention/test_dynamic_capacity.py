# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic Capacity Networks: saliency by hand, selection, hint loss, cost."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.patches import cut, from_patches, pad_to_patches, paste, to_patches


def image(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def module(channels=4, **options):
    torch.manual_seed(0)
    built = build('dynamic_capacity', channels, **{'patch': 4, 'classes': 5, 'top_hidden': 3, **options}).double()
    for p in built.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return built


@pytest.mark.parametrize('shape', [(1, 4, 8, 8), (2, 4, 12, 8)])
def test_saliency_by_hand(shape):
    """dH/dc by the chain rule, patch by patch, hidden unit by hidden unit, class by class."""
    dcn, x = module(), image(*shape)
    c = dcn.coarse(x).detach().numpy()
    w, b = dcn.top.conv.weight.detach().numpy(), dcn.top.conv.bias.detach().numpy()
    V, a = dcn.top.classify.weight.detach().numpy(), dcn.top.classify.bias.detach().numpy()
    rows, columns = shape[2] // 4, shape[3] // 4
    expected = np.zeros((shape[0], 1, rows, columns))
    for n in range(shape[0]):
        tiles = {(i, j): c[n, :, 4 * i:4 * i + 4, 4 * j:4 * j + 4] for i in range(rows) for j in range(columns)}
        h = {at: np.array([(w[u] * tile).sum() + b[u] for u in range(3)]) for at, tile in tiles.items()}
        z = V @ np.log(np.mean([np.exp(u) for u in h.values()], axis=0)) + a
        p = np.exp(z) / np.exp(z).sum()
        H = -(p * np.log(p)).sum()
        for at, units in h.items():
            gradient = np.zeros_like(tiles[at])
            for k in range(5):
                for u in range(3):
                    share = np.exp(units[u]) / sum(np.exp(other[u]) for other in h.values())
                    gradient += -p[k] * (np.log(p[k]) + H) * V[k, u] * share * w[u]
            expected[n, 0][at] = np.sqrt((gradient ** 2).sum())
    found = dcn(x)[1]['saliency'].detach().numpy()
    assert expected.max() > 1e-4 and len(np.unique(expected.round(12))) == expected.size
    assert np.abs(found - expected).max() <= 1e-12


def autograd_entropy_gradient(top, c):
    """Logits and dH/dc as `TopLayers.entropy_gradient`, for any differentiable `top`; neither carries a gradient."""
    with torch.enable_grad():
        leaf = c.detach().requires_grad_()
        logits = top(leaf)
        log_p = logits.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum()
        gradient, = torch.autograd.grad(entropy, leaf)
    return logits.detach(), gradient


def macs(dcn, height: int, width: int) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one map: a + b k, b for each patch chosen."""
    patches = -(-height // dcn.patch) * -(-width // dcn.patch)
    cells = dcn.patch ** 2
    weights = [layer.weight.numel() for layer in dcn.coarse if hasattr(layer, 'weight')]
    everywhere = patches * cells * sum(weights)
    g = 2 * (patches * dcn.top.conv.weight.numel() + dcn.top.classify.weight.numel())  # forward and gradient
    first, _, second, _, third = dcn.fine
    a_patch = ((dcn.patch + 2) ** 2 * first.weight.numel()
               + cells * (second.weight.numel() + third.weight.numel()))
    return everywhere + g + min(dcn.k, patches) * a_patch


def test_written_out_gradient_equals_autograd():
    dcn, c = module(), image(3, 4, 8, 12)
    logits, gradient = dcn.top.entropy_gradient(c)
    logits_2, gradient_2 = autograd_entropy_gradient(dcn.top, c)
    torch.testing.assert_close(logits, dcn.top(c))
    torch.testing.assert_close(logits, logits_2)
    torch.testing.assert_close(gradient, gradient_2, rtol=0, atol=1e-14)


@pytest.mark.parametrize('shape', [(2, 4, 16, 16), (3, 4, 8, 20), (1, 4, 10, 13)])
def test_fine_features_on_the_k_most_salient_patches_coarse_elsewhere(shape):
    dcn, x = module(k=2), image(*shape)
    y, weights = dcn(x)
    padded = pad_to_patches(x, 4)
    c = dcn.coarse(padded)[:, :, :shape[2], :shape[3]]
    around = torch.nn.functional.pad(padded, (2, 2, 2, 2))
    f = dcn.fine(around)[:, :, :shape[2], :shape[3]]  # the fine layers over everything, for comparison
    chosen = weights['spatial'].bool()
    torch.testing.assert_close(y, torch.where(chosen, f, c), rtol=0, atol=1e-12)
    assert (y - c).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    saliency = weights['saliency'].flatten(1)
    grown = chosen[:, :, ::4, ::4].flatten(1)
    assert (grown.sum(dim=1) == 2).all()
    assert (saliency.masked_fill(~grown, np.inf).amin(dim=1) >= saliency.masked_fill(grown, -np.inf).amax(dim=1)).all()
    difference = ((c - f) ** 2).sum(dim=1, keepdim=True) if shape[2] % 4 == shape[3] % 4 == 0 else None
    if difference is not None:
        torch.testing.assert_close(weights['hint'], (difference * chosen).sum(dim=(1, 2, 3)))


def test_the_hint_teaches_the_coarse_layers_only():
    dcn, x = module(k=3), image(2, 4, 12, 12)
    dcn(x)[1]['hint'].sum().backward()
    assert all(p.grad is None for p in [*dcn.fine.parameters(), *dcn.top.parameters()])
    assert all(p.grad.abs().max() > 1e-6 for p in dcn.coarse.parameters())


def test_coarse_learns_fine_from_the_hint():
    dcn, x = module(k=4, coarse_width=16), image(4, 4, 16, 16)
    optimiser = torch.optim.Adam(dcn.coarse.parameters(), 1e-2)
    hints = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = dcn(x)[1]['hint'].mean()
        loss.backward()
        optimiser.step()
        hints.append(float(loss.detach()))
    assert hints[-1] < 0.5 * hints[0]


@pytest.mark.parametrize('size', [(32, 32), (16, 48)])
def test_cost_falls_with_k_as_stated(size):
    """The count of torch's own counter (2 a multiply-accumulate) for k = 1 .. all patches."""
    counted = []
    patches = size[0] * size[1] // 16
    ks = [1, 2, 5, patches, patches + 10]
    for k in ks:
        dcn = module(k=k).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            dcn(image(1, 4, *size))
        counted.append(counter.get_total_flops())
        assert counted[-1] == 2 * macs(dcn, *size)
    assert counted[1] - counted[0] == (counted[2] - counted[1]) / 3, 'linear in k'
    assert counted[0] < 0.2 * counted[3] and counted[3] == counted[4]


def test_inference_mode_needs_no_autograd():
    dcn, x = module(), image(1, 4, 8, 8)
    expected = dcn(x)[0].detach()
    with torch.inference_mode():
        torch.testing.assert_close(dcn(x)[0], expected)


def test_patches_are_cut_and_pasted_in_place():
    x = image(2, 3, 8, 12)
    tiles = to_patches(x, 4)
    torch.testing.assert_close(tiles[:, 4], x[:, :, 4:8, 4:8])
    assert torch.equal(from_patches(tiles, 2, 3), x)
    chosen = torch.tensor([[5, 0], [2, 3]])
    assert torch.equal(cut(x, chosen, 3, 4, 0)[1, 0], x[1, :, 0:4, 8:12])
    with_halo = cut(x, chosen, 3, 4, 1)[0, 1]
    assert with_halo.shape == (3, 6, 6)
    assert torch.equal(with_halo[:, 1:, 1:], x[0, :, 0:5, 0:5]) and not with_halo[:, 0].any()
    pasted = paste(x, chosen, torch.zeros(2, 2, 3, 4, 4, dtype=x.dtype))
    assert not pasted[0, :, 4:8, 8:12].any() and not pasted[1, :, 0:4, 8:12].any()
    assert torch.equal(pasted[0, :, 0:4, 4:8], x[0, :, 0:4, 4:8])
