#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the weighted mean of checkpoints of one training: between two of its ends, what lies between them as a rule.

Model soups (Wortsman et al., ICML 2022, https://arxiv.org/abs/2203.05482): weights that came from the same start by
short trainings lie in one valley, where their mean is often better than each. The calibration is that of the first:
`tools/calibrate.py` fits it again, and `train --start-from` goes on.

    python tools/average_weights.py A.safetensors B.safetensors --shares 1 1 --out mean.safetensors
"""
from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import torch  # noqa: E402

from attention_fusion_ros.network import checkpoint as checkpoints  # noqa: E402


def averaged(states: list[dict[str, torch.Tensor]], shares: list[float]) -> dict[str, torch.Tensor]:
    """Tensors of several networks by name -> their weighted mean; whole numbers (counters) are those of the first.

    Raises ValueError where names or shapes differ, or shares are negative or all 0.
    """
    first, total = states[0], sum(shares)
    if len(shares) != len(states) or not math.isfinite(total) or min(shares) < 0 or total <= 0:
        raise ValueError(f'{len(states)} checkpoints need as many finite shares, none negative and not all 0, not '
                         f'{shares}')
    if any(state.keys() != first.keys() or any(state[n].shape != first[n].shape for n in first) for state in states):
        raise ValueError('the checkpoints are of different networks')
    return {name: sum((state[name].double() * (share / total) for state, share in zip(states, shares)),
                      torch.zeros(())).to(tensor.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in first.items()}


def main() -> int:
    """Read, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', type=Path, nargs='+', metavar='CHECKPOINT')
    parser.add_argument('--shares', type=float, nargs='+', metavar='N', help='default: all alike')
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    loaded = [checkpoints.load(path) for path in options.checkpoints]
    if any(found.network.config != loaded[0].network.config for found in loaded):
        parser.error('the checkpoints are of different networks')
    shares = options.shares or [1.0] * len(loaded)
    try:
        mean = averaged([found.network.state_dict() for found in loaded], shares)
    except ValueError as error:
        parser.error(str(error))
    network = loaded[0].network
    network.load_state_dict(mean)
    notes = {**loaded[0].training, 'mean_of': [{'sha256': found.digest, 'share': share / sum(shares)}
                                               for found, share in zip(loaded, shares)]}
    checkpoints.save(options.out, network, loaded[0].calibration, notes)
    print(f'wrote {options.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
