# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which places an answer rests on: Grad-CAM (Selvaraju et al., ICCV 2017) of the network's residual stages."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.attention.gradcam import grad_cams
from attention_fusion_ros.contracts import Branch, FusionResult
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.network.head import decode_bearings, head_arrays, head_channel
from attention_fusion_ros.network.model import FusionNetwork, Past


def explain(network: FusionNetwork, lidar: Tensor, map_image: Tensor, result: FusionResult,
            past: Past | None = None) -> dict[str, np.ndarray]:
    """Grad-CAM of the answer that `network` gave to these inputs, at every residual stage.

    lidar (1, C_l, H, W), map_image (1, C_m, H, W), past: what the network was given for `result`. The network runs once
    more, this time with gradients. What is explained is the logit of the published direction in the bin it was read
    from; without a direction, the presence logit of the most probable branch.
    Returns stage name -> (h, w) float32, not negative, not normalised, on the BEV grid; empty when there is no branch.
    """
    if not result.branches:
        return {}
    features: list[Tensor] = []
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as hooks:
        for read in network.polar_lateral:  # each reads the features of one stage, whatever the stage is made of
            hook = read.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
            hooks.callback(hook.remove)
        # A tensor made in inference mode has no place in a graph; a clone has.
        if past is not None:
            past = replace(past, lidar=past.lidar.clone(), moves=past.moves.clone(), present=past.present.clone())
        head = network(lidar.clone(), map_image.clone(), past).head
        channel = 'direction' if result.direction is not None else 'presence'
        branch = result.direction or result.branches[0]
        scalar = head_channel(head[0], channel)[branch_bin(head[0].detach().float().cpu().numpy(), branch)]
        maps = grad_cams(features, scalar)
    return {f'stage{i + 1}': cam[0].float().cpu().numpy() for i, cam in enumerate(maps)}


def branch_bin(head: np.ndarray, branch: Branch) -> int:
    """The bin of head (7, K) whose decoded bearing is nearest to that of the branch: the one it was read from."""
    bearings = decode_bearings(head_arrays(head)['offset'])
    return int(np.argmin(angle_between(bearings, branch.bearing)))
