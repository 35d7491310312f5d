# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM: the orders as compositions of the parts, the options, the residual block."""

import pytest
import torch

from attention_fusion_ros.attention import build

SHAPES = [(1, 16, 8, 8), (3, 32, 5, 11)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize('shape', SHAPES)
def test_orders_are_compositions_of_the_parts(shape):
    torch.manual_seed(0)
    x, module = random(*shape), build('cbam', shape[1]).double()
    cam, sam = module.cam, module.sam
    for order, compose in {
        'channel_first': lambda: sam(cam(x)[0])[0],
        'spatial_first': lambda: cam(sam(x)[0])[0],
        'parallel': lambda: x * cam(x)[1]['channel'][:, :, None, None] * sam(x)[1]['spatial'],
    }.items():
        other = build('cbam', shape[1], order=order).double()
        other.load_state_dict(module.state_dict())
        found, weights = other(x)
        torch.testing.assert_close(found, compose(), rtol=0, atol=1e-14)
        product = x * weights['channel'][:, :, None, None] * weights['spatial']
        torch.testing.assert_close(found, product, rtol=0, atol=1e-14)


def test_the_orders_differ():
    torch.manual_seed(1)
    x, module = random(2, 16, 6, 6), build('cbam', 16).double()
    answers = []
    for order in ('channel_first', 'spatial_first', 'parallel'):
        module.order = order
        answers.append(module(x)[0])
    for i in range(3):
        assert (answers[i] - answers[i - 1]).abs().max() > 1e-4


def test_max_mean_is_mean_max_with_swapped_kernel():
    torch.manual_seed(2)
    x = random(2, 8, 7, 5)
    paper, original = build('cbam_spatial', 8).double(), build('cbam_spatial', 8, order=('max', 'mean')).double()
    original.load_state_dict(paper.state_dict())
    assert (original(x)[0] - paper(x)[0]).abs().max() > 1e-4, 'weights of one order mean something else in the other'
    original.conv.weight.data = paper.conv.weight.data.flip(1)
    torch.testing.assert_close(original(x)[0], paper(x)[0], rtol=0, atol=1e-14)


def test_both_pools_are_the_sum_of_each():
    torch.manual_seed(3)
    x, both = random(2, 32, 6, 4), build('cbam_channel', 32).double()
    logit = 0.0
    for pool in ('avg', 'max'):
        one = build('cbam_channel', 32, pools=(pool,)).double()
        one.load_state_dict(both.state_dict())
        logit = logit + one(x)[1]['channel'].logit()
    torch.testing.assert_close(both(x)[1]['channel'], logit.sigmoid(), rtol=0, atol=1e-12)


def test_average_only_is_squeeze_and_excitation():
    torch.manual_seed(4)
    x, cam = random(2, 32, 5, 5), build('cbam_channel', 32, pools=('avg',)).double()
    se = build('se', 32, bias=False).double()
    se.load_state_dict(cam.state_dict())
    torch.testing.assert_close(se(x)[0], cam(x)[0], rtol=0, atol=1e-15)


def test_parameter_counts_of_the_paper():
    def count(module):
        return sum(p.numel() for p in module.parameters())
    C, r = 64, 16
    assert count(build('cbam_channel', C)) == 2 * C * C // r
    assert count(build('cbam_spatial', C)) == 2 * 7 * 7
    assert count(build('cbam_spatial', C, kernel=3)) == 2 * 3 * 3
    assert count(build('cbam', C)) == 2 * C * C // r + 98
    assert count(build('cbam_block', C)) == 2 * (9 * C * C + 2 * C) + 2 * C * C // r + 98
    D = 128
    assert (count(build('cbam_block', C, out_channels=D, stride=2))
            == (9 * C * D + 2 * D) + (9 * D * D + 2 * D) + (C * D + 2 * D) + 2 * D * D // r + 98)


@pytest.mark.parametrize(('height', 'width'), [(8, 8), (9, 14)])
def test_block_shapes_and_composition(height, width):
    torch.manual_seed(5)
    x = random(2, 16, height, width)
    block = build('cbam_block', 16).double().eval()
    y, weights = block(x)
    torch.testing.assert_close(y, (x + block.cbam(block.body(x))[0]).relu(), rtol=0, atol=1e-14)
    assert weights['spatial'].shape == (2, 1, height, width)
    y, weights = build('cbam_block', 16, out_channels=24, stride=2, cbam={'order': 'parallel'}).double()(x)
    assert y.shape == (2, 24, -(-height // 2), -(-width // 2))
    assert weights['channel'].shape == (2, 24) and weights['spatial'].shape[2:] == y.shape[2:]
    assert y.min() >= 0
