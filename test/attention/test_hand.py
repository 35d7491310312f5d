# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CBAM as its authors wrote it, BAM, SCA, ConvGRU: against plain numpy, outputs and gradients in float64.

The references are written with analytic operations only, so that the complex step gives their gradients to machine
precision: f'(x) = Im f(x + ih) / h, without the cancellation of finite differences.
"""

import numpy as np
import pytest
import torch

from attention_fusion_ros.attention import build
from attention_fusion_ros.attention.temporal import ConvGRU

TOLERANCE = 1e-9
EPS = 1e-5  # of the batch normalisation


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a, axis):
    return np.exp(a) / np.exp(a).sum(axis=axis, keepdims=True)


def relu(a):
    return np.where(a.real > 0, a, 0)


def maximum(a, axis):
    index = np.expand_dims(a.real.argmax(axis=axis), axis)
    return np.take_along_axis(a, index, axis).squeeze(axis)


def conv(x, w, b=None, dilation=1):
    """x (B, C, H, W), w (O, C, k, k): zero padded to the size of x, tap by tap."""
    k, H, W = w.shape[2], x.shape[2], x.shape[3]
    pad = dilation * (k // 2)
    padded = np.zeros((*x.shape[:2], H + 2 * pad, W + 2 * pad), dtype=np.result_type(x, w))
    padded[:, :, pad:pad + H, pad:pad + W] = x
    y = np.zeros((x.shape[0], w.shape[0], H, W), dtype=padded.dtype)
    for i in range(k):
        for j in range(k):
            window = padded[:, :, i * dilation:i * dilation + H, j * dilation:j * dilation + W]
            y = y + np.einsum('oc,bchw->bohw', w[:, :, i, j], window)
    return y if b is None else y + b[None, :, None, None]


def norm(x, p, prefix, training):
    if training:
        mean = x.mean(axis=(0, 2, 3), keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=(0, 2, 3), keepdims=True)
    else:
        mean = p[f'{prefix}.running_mean'][None, :, None, None]
        variance = p[f'{prefix}.running_var'][None, :, None, None]
    scale, shift = p[f'{prefix}.weight'][None, :, None, None], p[f'{prefix}.bias'][None, :, None, None]
    return (x - mean) / np.sqrt(variance + EPS) * scale + shift


def check(module, reference, *inputs):
    """Compares the module's output and all gradients of sum(v y) with those of `reference(p, *inputs)`."""
    rng = np.random.default_rng(7)
    module = module.double()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low, high = (0.5, 1.5) if name.endswith('running_var') else (-0.9, 0.9)
                tensor.copy_(torch.from_numpy(rng.uniform(low, high, tuple(tensor.shape))))
    p = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    tensors = [torch.from_numpy(a).requires_grad_() for a in inputs]
    y = module(*tensors)
    y = y[0] if isinstance(y, tuple) else y
    v = rng.standard_normal(tuple(y.shape))
    (y * torch.from_numpy(v)).sum().backward()
    expected = reference(p, *inputs)
    assert np.abs(expected).max() > 1e-3, 'a reference that says something'
    assert np.abs(y.detach().numpy() - expected).max() <= TOLERANCE

    step = 1e-30
    gradients = {n: q.grad for n, q in module.named_parameters()} | {i: t.grad for i, t in enumerate(tensors)}
    for name, gradient in gradients.items():
        array = p[name] if isinstance(name, str) else inputs[name]
        for index in np.ndindex(array.shape):
            moved = array.astype(complex)
            moved[index] += 1j * step
            if isinstance(name, str):
                value = reference({**p, name: moved}, *inputs)
            else:
                value = reference(p, *(moved if i == name else a for i, a in enumerate(inputs)))
            slope = (v * value.imag).sum() / step
            assert abs(slope - float(gradient[index])) <= TOLERANCE, (name, index)


def image(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('shape', [(2, 5, 3, 3), (3, 5, 2, 4)])
def test_cbam_as_in_the_code_of_its_authors(shape, training):
    """Biases in the MLP, [max, mean], batch normalisation after the convolution."""
    options = dict(channel={'bias': True, 'hidden': 2}, spatial={'order': ('max', 'mean'), 'kernel': 3, 'norm': True})

    def reference(p, x):
        def mlp(a):
            hidden = relu(a @ p['cam.fc1.weight'].T + p['cam.fc1.bias'])
            return hidden @ p['cam.fc2.weight'].T + p['cam.fc2.bias']
        flat = x.reshape(*x.shape[:2], -1)
        x = x * sigmoid(mlp(flat.mean(axis=2)) + mlp(maximum(flat, 2)))[:, :, None, None]
        descriptor = np.stack([maximum(x, 1), x.mean(axis=1)], axis=1)
        return x * sigmoid(norm(conv(descriptor, p['sam.conv.weight']), p, 'sam.norm', training))

    check(build('cbam', shape[1], **options).train(training), reference, image(*shape))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('where', ['output', 'hidden'])
@pytest.mark.parametrize('combine', ['sum', 'product'])
@pytest.mark.parametrize('shape', [(3, 4, 5, 5), (2, 4, 6, 3)])
def test_bam(shape, combine, where, training):
    def reference(p, x):
        def end(a, prefix):
            return norm(a, p, prefix, training) if where == 'output' else a

        def hidden(a, prefix):
            return relu(a if where == 'output' else norm(a, p, prefix, training))

        def layer(a, prefix, dilation=1):
            return conv(a, p[f'{prefix}.weight'], p[f'{prefix}.bias'], dilation)
        pooled = x.mean(axis=(2, 3), keepdims=True)
        Mc = end(layer(hidden(layer(pooled, 'channel.0'), 'channel.1'), 'channel.3'), 'channel.4')
        Ms = hidden(layer(x, 'spatial.0'), 'spatial.1')
        Ms = hidden(layer(Ms, 'spatial.3', 4), 'spatial.4')
        Ms = hidden(layer(Ms, 'spatial.6', 4), 'spatial.7')
        Ms = end(layer(Ms, 'spatial.9'), 'spatial.10')
        return x * (1 + sigmoid(Mc + Ms if combine == 'sum' else Mc * Ms))

    check(build('bam', 4, hidden=2, combine=combine, norm=where).train(training), reference, image(*shape))


def test_bam_weights_are_the_means_of_what_is_applied():
    x = torch.from_numpy(image(3, 32, 6, 9))
    y, weights = build('bam', 32).double()(x)
    M = y / x - 1
    torch.testing.assert_close(weights['channel'], M.mean(dim=(2, 3)))
    torch.testing.assert_close(weights['spatial'], M.mean(dim=1, keepdim=True))
    assert build('bam', 32).channel[0].out_channels == 2 and build('bam', 32).spatial[3].dilation == (4, 4)


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize('order', ['channel_spatial', 'spatial_channel'])
@pytest.mark.parametrize('shape', [(1, 3, 4, 4), (2, 4, 2, 5)])
def test_sca(shape, order, rescale):
    def reference(p, x, h):
        def channels(V):
            beta = np.zeros(V.shape[:2], dtype=np.result_type(V, h, *p.values()))
            for n in range(V.shape[0]):
                for c in range(V.shape[1]):
                    b = np.tanh(p['Wc.weight'][:, 0] * V[n, c].mean() + p['Wc.bias'] + p['Whc.weight'] @ h[n])
                    beta[n, c] = p['Wi_c.weight'][0] @ b
            beta = softmax(beta, 1)
            return V * beta[:, :, None, None] * (V.shape[1] if rescale else 1)

        def cells(V):
            alpha = np.zeros((V.shape[0], *V.shape[2:]), dtype=np.result_type(V, h, *p.values()))
            for n, i, j in np.ndindex(alpha.shape):
                a = np.tanh(p['Ws.weight'][:, :, 0, 0] @ V[n, :, i, j] + p['Ws.bias'] + p['Whs.weight'] @ h[n])
                alpha[n, i, j] = p['Wi_s.weight'][0, :, 0, 0] @ a
            alpha = softmax(alpha.reshape(len(alpha), -1), 1).reshape(alpha.shape)
            return V * alpha[:, None] * (alpha[0].size if rescale else 1)
        return cells(channels(x)) if order == 'channel_spatial' else channels(cells(x))

    module = build('sca', shape[1], query_channels=2, hidden=3, order=order, rescale=rescale)
    check(module, reference, image(*shape), image(shape[0], 2, seed=1))


def test_sca_weights_are_distributions_and_follow_the_query():
    torch.manual_seed(0)
    module, x = build('sca', 8, query_channels=5), torch.randn(2, 8, 6, 9)
    _, first = module(x, torch.randn(2, 5))
    _, second = module(x, torch.randn(2, 5))
    for key in ('channel', 'spatial'):
        torch.testing.assert_close(first[key].flatten(1).sum(dim=1), torch.ones(2))
        assert (first[key] - second[key]).abs().max() > 1e-5, 'the other modality changes the answer'


def gru_reference(p, x, h, prefix=''):
    gates = sigmoid(conv(np.concatenate([x, h], axis=1), p[f'{prefix}gates.weight'], p[f'{prefix}gates.bias']))
    z, r = np.split(gates, 2, axis=1)
    candidate = np.tanh(conv(np.concatenate([x, r * h], axis=1), p[f'{prefix}candidate.weight'],
                             p[f'{prefix}candidate.bias']))
    return (1 - z) * h + z * candidate


@pytest.mark.parametrize('shape', [(2, 2, 3, 3), (1, 2, 2, 5)])
def test_conv_gru(shape):
    check(ConvGRU(shape[1]), gru_reference, image(*shape), image(*shape, seed=1))


@pytest.mark.parametrize('carry', [True, False])
def test_temporal_attention_of_a_standing_vehicle(carry):
    """Without motion the sampler is the identity, and the rest can be written down."""
    def reference(p, x, history):
        def layer(a, prefix):
            return conv(a, p[f'{prefix}.weight'], p.get(f'{prefix}.bias'))
        sweeps = [history[:, t] for t in range(history.shape[1])] + [x]
        score = [(layer(x, 'query') * layer(s, 'key')).sum(axis=1) / np.sqrt(3) for s in sweeps]
        time = softmax(np.stack(score, axis=1), 1)
        weighted = [time[:, t, None] * s for t, s in enumerate(sweeps)]
        carried = sum(weighted)
        if carry:
            carried = np.zeros(x.shape)
            for w in weighted:
                carried = gru_reference(p, w, carried, 'gru.')
        return x + layer(carried, 'out')

    class Standing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build('temporal', 2, keys=3, carry=carry)

        def forward(self, x, history):
            moves = torch.eye(3, dtype=x.dtype).repeat(*history.shape[:2], 1, 1)
            return self.inner(x, history, moves)

    check(Standing(), lambda p, *a: reference({k.removeprefix('inner.'): q for k, q in p.items()}, *a),
          image(1, 2, 2, 3), image(1, 2, 2, 2, 3, seed=1))
