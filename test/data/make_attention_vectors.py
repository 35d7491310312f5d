# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Makes attention_vectors.npz: what timm's attention modules answer, outputs and gradients in float64.

    pip install --no-deps timm
    python test/data/make_attention_vectors.py            # writes the file
    python test/data/make_attention_vectors.py --check    # compares the file with the timm that is installed

timm (Apache-2.0, https://github.com/huggingface/pytorch-image-models) is a reference for the tests only.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

FILE = Path(__file__).with_name('attention_vectors.npz')
SHAPES = {'train': (2, 16, 3, 5), 'eval': (3, 16, 4, 2)}  # training mode uses batch statistics, evaluation stored ones

# case: timm module, its arguments for C channels, our name, our options, {our parameter prefix: timm's}
CASES = {
    'se': ('squeeze_excite.SEModule', lambda C: dict(channels=C), 'se',
           lambda C: dict(hidden=max(8, (C // 16 + 4) // 8 * 8)),  # timm rounds to multiples of 8
           {'fc1.': 'fc1.', 'fc2.': 'fc2.'}),
    'sk': ('selective_kernel.SelectiveKernel', lambda C: dict(in_channels=C, groups=8, rd_channels=32,
                                                              split_input=False), 'sk', lambda C: dict(groups=8),
           {'split.0.0.': 'paths.0.conv.', 'split.0.1.': 'paths.0.bn.', 'split.1.0.': 'paths.1.conv.',
            'split.1.1.': 'paths.1.bn.', 'fuse.0.': 'attn.fc_reduce.', 'fuse.1.': 'attn.bn.',
            'select.': 'attn.fc_select.'}),
    'eca': ('eca.EcaModule', lambda C: dict(channels=C), 'eca', lambda C: {}, {'conv.': 'conv.'}),
    'cbam_channel': ('cbam.ChannelAttn', lambda C: dict(channels=C), 'cbam_channel', lambda C: {},
                     {'fc1.': 'fc1.', 'fc2.': 'fc2.'}),
    'cbam_channel_bias': ('cbam.ChannelAttn', lambda C: dict(channels=C, mlp_bias=True), 'cbam_channel',
                          lambda C: dict(bias=True), {'fc1.': 'fc1.', 'fc2.': 'fc2.'}),
    'cbam_spatial_7': ('cbam.SpatialAttn', lambda C: dict(kernel_size=7), 'cbam_spatial',
                       lambda C: dict(kernel=7, norm=True), {'conv.': 'conv.conv.', 'norm.': 'conv.bn.'}),
    'cbam_spatial_3': ('cbam.SpatialAttn', lambda C: dict(kernel_size=3), 'cbam_spatial',
                       lambda C: dict(kernel=3, norm=True), {'conv.': 'conv.conv.', 'norm.': 'conv.bn.'}),
    'cbam': ('cbam.CbamModule', lambda C: dict(channels=C), 'cbam', lambda C: dict(spatial=dict(norm=True)),
             {'cam.': 'channel.', 'sam.conv.': 'spatial.conv.conv.', 'sam.norm.': 'spatial.conv.bn.'}),
    'coordinate': ('coord_attn.CoordAttn', lambda C: dict(channels=C, rd_channels=max(8, C // 32), bias=True),
                   'coordinate', lambda C: {}, {'F1.0.': 'conv1.', 'F1.1.': 'bn1.', 'Fh.': 'conv_h.',
                                                'Fw.': 'conv_w.'}),
}


def timm_layer(dotted: str) -> type[nn.Module]:
    """A class of timm.layers, with only the layers imported. Raises ImportError where timm is not installed.

    timm imports torchvision for one class that none of these layers uses; beside a CPU build of torch the torchvision
    of the index does not load, so a stand-in takes its place during the import.
    """
    spec = importlib.util.find_spec('timm')
    if spec is None:
        raise ImportError('timm is not installed')
    replaced = ('timm', 'torchvision', 'torchvision.ops', 'torchvision.ops.misc')
    before = {name: sys.modules.get(name) for name in replaced}
    try:
        if before['timm'] is None:
            package = types.ModuleType('timm')  # without its models, which need more packages
            package.__path__ = list(spec.submodule_search_locations)
            sys.modules['timm'] = package
        if before['torchvision'] is None:
            for name in replaced[1:]:
                sys.modules[name] = types.ModuleType(name)
            sys.modules['torchvision.ops.misc'].FrozenBatchNorm2d = type('FrozenBatchNorm2d', (nn.Module,), {})
        module, name = dotted.split('.')
        return getattr(importlib.import_module(f'timm.layers.{module}'), name)
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def reference(case: str, channels: int, seed: int) -> nn.Module:
    """timm's module in float64 with every parameter and running statistic drawn at random."""
    dotted, arguments = CASES[case][:2]
    module = timm_layer(dotted)(**arguments(channels)).double()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low, high = (0.5, 1.5) if name.endswith('running_var') else (-0.8, 0.8)
                tensor.copy_(torch.from_numpy(rng.uniform(low, high, tuple(tensor.shape))))
    return module


def answer(module: nn.Module, x: np.ndarray, v: np.ndarray) -> dict[str, np.ndarray]:
    """Output y of a module that returns one tensor, and the gradients of sum(v y) to input and parameters."""
    x = torch.from_numpy(x).requires_grad_()
    y = module(x)
    (y * torch.from_numpy(v)).sum().backward()
    gradients = {f'grad/{name}': p.grad.numpy() for name, p in module.named_parameters()}
    return {'y': y.detach().numpy(), 'grad/x': x.grad.numpy(), **gradients}


def vectors() -> dict[str, np.ndarray]:
    """Everything in the file: mode/x, mode/v, case/state/NAME, case/mode/y, case/mode/grad/NAME."""
    rng = np.random.default_rng(0)
    found = {}
    for mode, shape in SHAPES.items():
        found[f'{mode}/x'], found[f'{mode}/v'] = rng.standard_normal(shape), rng.standard_normal(shape)
    for seed, case in enumerate(CASES):
        for mode, shape in SHAPES.items():
            module = reference(case, shape[1], seed).train(mode == 'train')
            if mode == 'train':
                found |= {f'{case}/state/{k}': t.numpy().copy() for k, t in module.state_dict().items()}
            values = answer(module, found[f'{mode}/x'], found[f'{mode}/v'])
            found |= {f'{case}/{mode}/{k}': a for k, a in values.items()}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='compare instead of writing')
    options = parser.parse_args()
    made = vectors()
    if not options.check:
        np.savez_compressed(FILE, **made)
        print(f'{FILE.name}: {len(made)} arrays, {FILE.stat().st_size} bytes')
        return 0
    with np.load(FILE) as stored:
        names_agree = set(stored) == set(made)
        worst = max(float(np.abs(stored[k] - made[k]).max()) for k in stored if k in made)
    print(f'{FILE.name}: same arrays: {names_agree}, largest difference {worst:.3g}')
    return 0 if names_agree and worst <= 1e-9 else 1


if __name__ == '__main__':
    sys.exit(main())
