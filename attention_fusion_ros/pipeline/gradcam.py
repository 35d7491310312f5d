# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which places a result rests on: Grad-CAM (Selvaraju et al., ICCV 2017) of the network's residual stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_fusion_ros.backends.base import Backend, can_explain, explainer
from attention_fusion_ros.backends.threads import torch_threads
from attention_fusion_ros.contracts import Branch, FusionResult
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.geometry import angle_between
from attention_fusion_ros.network.head import decode_bearings, head_arrays, head_channel
from attention_fusion_ros.network.history import History
from attention_fusion_ros.utils.tensors import as_tensor, upload
from attention_fusion_ros.utils.torch_later import torch


@dataclass(frozen=True)
class ExplanationContext:
    """What the network was given for a result, tensors or arrays: `FusionResult.context`."""

    lidar: Any  # (C, H, W), C channels, see bev.lidar.CHANNELS
    map_image: Any  # (3, H, W)
    history: History | None = None  # of a batch of one
    prior: Any = None  # (1, 13), see `Backend.infer`

    def cloned(self) -> ExplanationContext:
        """Copies, all tensors, that may be part of a graph: a tensor made in inference mode has no place in one."""
        return ExplanationContext(as_tensor(self.lidar).clone(), as_tensor(self.map_image).clone(),
                                  None if self.history is None else self.history.clone(),
                                  None if self.prior is None else as_tensor(self.prior).clone())


def explains(backend: Backend) -> bool:
    """Whether there are the gradients that Grad-CAM needs: the backend's, or those of the same network in torch."""
    return can_explain(backend)


def explain(backend: Backend, result: FusionResult) -> dict[str, np.ndarray]:
    """Grad-CAM of a result at every residual stage of the network that gave it.

    The network runs once more on what it was given (`result.context`; without one: on the result's grids, without
    earlier sweeps), this time with gradients. What is explained is the logit of the published direction in the bin it
    was read from; without a direction, the presence logit of the most probable branch.

    Returns stage name -> (h, w) float32, not negative, not normalised, on the BEV grid; empty when there is no branch.
    Raises InputError `no_gradients` for a backend that has none, where the network in torch cannot be had either, or
    not any more: its checkpoint was removed or replaced.
    """
    if not explains(backend):
        raise InputError('no_gradients', f'Grad-CAM needs gradients, which backend {backend.name} does not have.',
                         'use backend torch, with the .safetensors checkpoint of which the file was made.')
    if not result.branches:
        return {}
    try:
        ours = explainer(backend)
    except ConfigurationError as error:
        raise InputError('no_gradients', f'Grad-CAM needs the network in torch too, which cannot be loaded: {error}',
                         'put the file back as it was, or configure anew with one that is there.') from error
    assert ours is not None
    from attention_fusion_ros.attention.gradcam import grad_cams  # not at the top: it needs torch
    given = result.context
    if not isinstance(given, ExplanationContext):
        given = ExplanationContext(upload(result.lidar_bev, ours.device), upload(result.map_bev, ours.device))
    with torch_threads(backend.threads), torch.inference_mode(False), torch.enable_grad():
        given = given.cloned()
        known = (given.prior,) if ours.model.carries_map else ()
        output, stages = ours.network.forward_intermediates(given.lidar[None], given.map_image[None], given.history,
                                                            *known)
        head = output.head[0]
        branch = result.direction or result.branches[0]
        channel = 'presence' if result.direction is None else 'direction'
        scalar = head_channel(head, channel)[branch_bin(head.detach().float().cpu().numpy(), branch)]
        maps = grad_cams(stages, scalar)
    return {f'stage{i + 1}': cam[0].float().cpu().numpy() for i, cam in enumerate(maps)}


def branch_bin(head: np.ndarray, branch: Branch) -> int:
    """The bin of head (C, K) whose decoded bearing is nearest to that of the branch: the one it was read from."""
    bearings = decode_bearings(head_arrays(head)['offset'])
    return int(np.argmin(angle_between(bearings, branch.bearing)))
