# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Grad-CAM of the whole network's answers: the right scalar, every stage, and nothing left behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.network_kit import lively_config

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.contracts import Branch, Mode, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.datasets import held_out as sim_scenes
from attention_fusion_ros.network.config import NetworkConfig, mechanism
from attention_fusion_ros.network.head import HEAD_CHANNELS, head_channel
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.gradcam import branch_bin
from attention_fusion_ros.visualization.panels import gradcam_heatmap, spatial_heatmap


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory):
    return FusionPipeline(lively_config(tmp_path_factory.mktemp('weights')))


@pytest.fixture(scope='module')
def result(pipeline):
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-35, 35, (5000, 3)).astype(np.float32) * np.float32([1, 0.4, 0.02])
    found = pipeline.run(SyncedSweep(PointCloud(1, 'base_link', xyz, None), Motion(np.eye(4))))
    assert found.direction is not None and len(found.branches) > 1
    return found


class Scalar(torch.nn.Module):
    """The network as captum wants it: one tensor in, one number a sample out."""

    def __init__(self, network, map_image, channel, k):
        super().__init__()
        self.network, self.map_image, self.channel, self.k = network, map_image, channel, k

    def forward(self, lidar):
        return head_channel(self.network(lidar, self.map_image).head, self.channel)[:, self.k:self.k + 1]


def by_captum(pipeline, result, channel, branch):
    """The same by an independent implementation, which reads the stages' outputs with its own hooks."""
    attribution = pytest.importorskip('captum.attr')
    network = pipeline.backend.network
    lidar, map_image = (torch.from_numpy(grid)[None] for grid in (result.lidar_bev, result.map_bev))
    with torch.no_grad():
        k = branch_bin(network(lidar, map_image).head[0].numpy(), branch)
    maps = []
    for reader in network.polar_lateral:  # each reads the features of one stage
        cam = attribution.LayerGradCam(Scalar(network, map_image, channel, k), reader)
        maps.append(cam.attribute(lidar.clone().requires_grad_(), target=0, attribute_to_layer_input=True,
                                  relu_attributions=True))
    return [m[0, 0].detach().numpy() for m in maps]


@pytest.mark.parametrize('taken', [True, False])
def test_the_direction_is_explained_else_the_most_probable_branch(pipeline, result, taken):
    asked = result if taken else replace(result, direction=None)
    found = pipeline.explain(asked)
    expected = by_captum(pipeline, asked, *(('direction', result.direction) if taken else
                                          ('presence', result.branches[0])))
    assert [m.shape for m in found.values()] == [(64, 64), (32, 32), (16, 16)]
    for name, reference in zip(('stage1', 'stage2', 'stage3'), expected):
        np.testing.assert_allclose(found[name], reference, rtol=0, atol=1e-4 * np.abs(reference).max())
    assert np.ptp(expected[0]) > 0  # random weights: a later stage may speak against the answer everywhere


def test_another_branch_has_another_explanation(pipeline, result):
    first, last = (pipeline.explain(replace(result, direction=b)) for b in (result.branches[0], result.branches[-1]))
    assert np.corrcoef(first['stage1'].ravel(), last['stage1'].ravel())[0, 1] < 0.999


def test_past_sweeps_are_part_of_what_is_explained(tmp_path):
    """A network with attention over time: the rerun sees the past of the run, though it was made in inference mode."""
    settings = NetworkConfig(temporal=mechanism('temporal', keys=4), time_steps=3)
    pipeline = FusionPipeline(lively_config(tmp_path, settings))
    with torch.no_grad():
        for parameter in pipeline.backend.network.temporal.parameters():  # they begin with taking no notice of the past
            parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    for k in range(3):
        xyz = rng.uniform(-35, 35, (5000, 3)).astype(np.float32) * np.float32([1, 0.4, 0.02])
        found = pipeline.run(SyncedSweep(PointCloud(k + 1, 'base_link', xyz, None), Motion(np.eye(4), np.eye(4))))
    assert found.attention.time is not None and len(found.attention.time) == 3
    remembered = pipeline.explain(found)['stage1']
    forgotten = pipeline.explain(replace(found, context=None))['stage1']
    assert np.ptp(remembered) > 0 and not np.allclose(remembered, forgotten, atol=1e-3 * remembered.max())


def test_nothing_to_explain(pipeline, result):
    assert pipeline.explain(replace(result, branches=(), direction=None)) == {}


def test_the_answer_stays_what_it_was(pipeline, result):
    with torch.inference_mode():  # whoever calls: gradients are needed all the same
        assert pipeline.explain(result).keys() == {'stage1', 'stage2', 'stage3'}
    network = pipeline.backend.network
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_bin_is_the_one_the_branch_was_read_from():
    head = np.zeros((len(HEAD_CHANNELS), 120), np.float32)
    head[HEAD_CHANNELS.index('offset'), 60] = 1.4  # bin 60 answers for a bearing in the middle of bin 61
    head[HEAD_CHANNELS.index('offset'), 61] = -1.4
    step = np.radians(3.0)
    assert branch_bin(head, Branch(1.9 * step, 0.0, 1.0, 0.1, 0.1)) == 60
    assert branch_bin(head, Branch(0.1 * step, 0.0, 1.0, 0.1, 0.1)) == 61
    assert branch_bin(head, Branch(np.pi - 0.001, 0.0, 1.0, 0.1, 0.1)) == 119


def test_a_drawn_route_is_what_the_direction_rests_on():
    """With the shipped weights: the Grad-CAM of the direction is greater on the route's stroke than elsewhere."""
    scene = next(s for s in map(sim_scenes.make_scene, range(sim_scenes.FIRST_SEED + 5, sim_scenes.FIRST_SEED + 50))
                 if s is not None and s.info.route_drawn)
    inputs = scene.inputs()
    config = replace(from_flat({'device': 'cpu', 'threads': 1}), map=inputs.layout)
    shipped = FusionPipeline(config)
    result = shipped.run(inputs)
    assert result.mode is Mode.FUSED and result.direction is not None
    heat = gradcam_heatmap(result, shipped.explain(result))
    route = result.map_bev[1] > 0.5
    assert heat[route].mean() > 2 * heat[~route].mean()


def test_heatmap_is_stretched_whatever_the_unit_of_the_gradient(result):
    maps = {'stage1': np.random.default_rng(0).random((64, 64)).astype(np.float32), 'stage2': np.ones((32, 32))}
    heat = gradcam_heatmap(result, maps)
    assert heat.shape == spatial_heatmap(result).shape == (256, 256)
    assert heat.min() < 0.05 and heat.max() == 1.0
    np.testing.assert_allclose(heat, gradcam_heatmap(result, {'stage1': 1e-7 * maps['stage1']}), atol=1e-4)
    assert not gradcam_heatmap(result, {'stage1': np.zeros((64, 64), np.float32)}).any()
    assert not gradcam_heatmap(result, {'stage1': np.full((64, 64), 0.3, np.float32)}).any()
