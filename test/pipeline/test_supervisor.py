# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Failures of the device and of the program cost sweeps, never the node."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip('rclpy', reason='no ROS 2 here')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')

from support.node_kit import UNTRAINED, Graph, cloud, street, values, wait_until  # noqa: E402

from attention_fusion_ros.config import from_flat  # noqa: E402
from attention_fusion_ros.contracts import Motion, PointCloud, SyncedSweep  # noqa: E402
from attention_fusion_ros.errors import ConfigurationError, InputError  # noqa: E402
from attention_fusion_ros.pipeline import supervisor as engine_module  # noqa: E402
from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor  # noqa: E402

CLOUD = PointCloud(10**18, 'lidar', street()[:, :3].copy(), None)
MOTION = Motion(np.eye(4))
CUDA_ERROR = 'CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later'


class Frail(FusionPipeline):
    """The real pipeline on the CPU that says it is on the device it was asked for, and fails on command."""

    failures: list = []  # raised by the next runs
    at_explaining: list = []
    broken_devices: set = set()  # cannot be built anew: raises build_error
    build_error: Exception = ConfigurationError('the device is not there')
    built: list = []

    def __init__(self, config):
        self._claimed = 'cuda:0' if config.device == 'auto' else config.device
        if self._claimed in Frail.broken_devices:
            raise Frail.build_error
        super().__init__(dataclasses.replace(config, device='cpu'))
        Frail.built.append(self._claimed)

    @property
    def info(self):
        return dataclasses.replace(super().info, device=self._claimed)

    def run(self, *arguments, **options):
        if Frail.failures:
            raise Frail.failures.pop(0)
        return super().run(*arguments, **options)

    def explain(self, result):
        if Frail.at_explaining:
            raise Frail.at_explaining.pop(0)
        return super().explain(result)


@pytest.fixture(autouse=True)
def clean():
    Frail.failures, Frail.at_explaining, Frail.broken_devices, Frail.built = [], [], set(), []


def config(**parameters):
    return from_flat({k: v for k, v in {**UNTRAINED, **parameters}.items()})


def test_auto_falls_back_to_the_cpu():
    engine = PipelineSupervisor(config(device='auto'), Frail)
    assert engine.info.device == 'cuda:0' and not engine.info.device_fell_back
    Frail.failures = [RuntimeError(CUDA_ERROR)]
    with pytest.raises(InputError, match='illegal memory access') as caught:
        engine.run(SyncedSweep(CLOUD, MOTION))
    assert caught.value.reason == 'device_error' and '\n' not in str(caught.value)
    assert engine.run(SyncedSweep(CLOUD, MOTION)).branches is not None
    assert engine.info.device == 'cpu' and engine.info.device_fell_back
    assert 'illegal memory access' in engine.info.device_note
    assert Frail.built == ['cuda:0', 'cpu'] and engine.restarts == 1
    engine.update(config(device='auto', **{'map.max_age': 1.0}))  # parameters do not bring the device back
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None and engine.info.device == 'cpu'


def test_parameters_that_change_before_the_pipeline_is_built_anew_do_not_bring_the_device_back():
    engine = PipelineSupervisor(config(device='auto'), Frail)
    Frail.failures = [RuntimeError(CUDA_ERROR)]
    with pytest.raises(InputError):
        engine.run(SyncedSweep(CLOUD, MOTION))
    engine.update(config(device='auto'))
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None and Frail.built == ['cuda:0', 'cpu']


class NoKernels(Frail):
    """A driver or a card that torch was not built for: seen, and of no use."""

    def warm_up(self):
        if self.info.device != 'cpu':
            raise RuntimeError('CUDA error: no kernel image is available for execution on the device')
        super().warm_up()


def test_auto_starts_on_the_cpu_where_nothing_runs_on_the_device():
    engine = PipelineSupervisor(config(device='auto'), NoKernels)
    assert engine.info.device == 'cpu' and engine.info.device_fell_back and 'no kernel image' in engine.info.device_note
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None
    with pytest.raises(RuntimeError, match='no kernel image'):
        PipelineSupervisor(config(device='cuda:0'), NoKernels)


@pytest.mark.parametrize('device', ['auto', 'cuda:0'])
def test_a_pipeline_that_cannot_be_warmed_up_is_closed(device):
    closed = []

    class Closing(NoKernels):
        def close(self):
            closed.append(self.info.device)
            super().close()

    try:
        PipelineSupervisor(config(device=device), Closing)
    except RuntimeError:
        assert device != 'auto'
    assert closed == ['cuda:0']


@pytest.mark.parametrize('error', [ConfigurationError('not there'), RuntimeError('out of memory'), OSError('no file')])
def test_a_device_that_was_asked_for_is_tried_again(error, monkeypatch):
    monkeypatch.setattr(Frail, 'build_error', error)
    now = [100.0]
    monkeypatch.setattr(engine_module.time, 'monotonic', lambda: now[0])
    engine = PipelineSupervisor(config(device='cuda'), Frail)
    Frail.failures = [RuntimeError('CUDA out of memory')]
    Frail.broken_devices = {'cuda'}
    for _ in range(3):
        with pytest.raises(InputError) as caught:
            engine.run(SyncedSweep(CLOUD, MOTION))
        assert caught.value.reason == 'device_error'
        if isinstance(error, ConfigurationError) and caught.value.__cause__ is error:  # it says itself what to do
            assert str(error) in str(caught.value) and engine_module.DEVICE_REMEDY not in str(caught.value)
    assert Frail.built == ['cuda']
    Frail.broken_devices = set()
    with pytest.raises(InputError):
        engine.run(SyncedSweep(CLOUD, MOTION))  # not before RETRY_PERIOD_S
    now[0] += engine_module.RETRY_PERIOD_S
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None
    assert engine.info.device == 'cuda' and engine.info.device_note == '' and Frail.built == ['cuda', 'cuda']


def test_an_unforeseen_error_keeps_the_pipeline_and_tells_where_it_was():
    engine = PipelineSupervisor(config(), Frail)
    Frail.failures = [KeyError('stage9')]
    with pytest.raises(InputError, match='stage9') as caught:
        engine.run(SyncedSweep(CLOUD, MOTION))
    assert caught.value.reason == 'internal_error' and isinstance(caught.value.__cause__, KeyError)
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None
    assert len(Frail.built) == 1


@pytest.mark.parametrize('at_explaining', [False, True])
def test_earlier_sweeps_are_forgotten_after_an_unforeseen_error_of_run_alone(at_explaining):
    sweep = SyncedSweep(CLOUD, Motion(np.eye(4), np.eye(4)))
    engine = PipelineSupervisor(config(**{'cloud.accumulate_points': 1_000_000}), Frail)
    first = engine.run(sweep)
    failures = Frail.at_explaining if at_explaining else Frail.failures
    failures.append(KeyError('stage9'))
    with pytest.raises(InputError, match='stage9'):
        engine.explain(first) if at_explaining else engine.run(sweep)
    assert np.array_equal(engine.run(sweep).lidar_bev, first.lidar_bev) != at_explaining


@pytest.mark.parametrize('device, error, reason', [
    ('cpu', RuntimeError('mat1 and mat2 shapes cannot be multiplied (1x3 and 4x1)'), 'internal_error'),
    ('cpu', NotImplementedError('not for this dtype'), 'internal_error'),
    ('cpu', RuntimeError(CUDA_ERROR), 'internal_error'),
    ('cuda', RuntimeError('The size of tensor a (3) must match the size of tensor b (4)'), 'internal_error'),
    ('cuda', RecursionError('maximum recursion depth exceeded'), 'internal_error'),
    ('cuda', torch.linalg.LinAlgError('the input matrix is singular'), 'internal_error'),
    ('cuda', torch.cuda.OutOfMemoryError('out of memory'), 'device_error'),
    ('cuda', RuntimeError('cuDNN error: CUDNN_STATUS_EXECUTION_FAILED'), 'device_error'),
    ('cuda', RuntimeError(CUDA_ERROR), 'device_error')])
def test_only_a_failing_cuda_device_costs_the_pipeline(device, error, reason):
    """torch raises RuntimeError for everything: a mistake in the program must not rebuild the network every sweep."""
    engine = PipelineSupervisor(config(device=device), Frail)
    Frail.failures = [error]
    with pytest.raises(InputError) as caught:
        engine.run(SyncedSweep(CLOUD, MOTION))
    assert caught.value.reason == reason and caught.value.__cause__ is error
    assert engine.run(SyncedSweep(CLOUD, MOTION)) is not None
    assert engine.restarts == (reason == 'device_error') and len(Frail.built) == 1 + engine.restarts


def test_a_device_that_fails_at_explaining_is_given_up_too():
    engine = PipelineSupervisor(config(device='auto', **{'branches.min_probability': 0.01}), Frail)
    result = engine.run(SyncedSweep(CLOUD, MOTION))
    assert engine.explain(result).keys() == {'stage1', 'stage2', 'stage3'}
    Frail.at_explaining = [RuntimeError(CUDA_ERROR), KeyError('stage9')]
    with pytest.raises(InputError, match='illegal memory access') as caught:
        engine.explain(result)
    assert caught.value.reason == 'device_error'
    with pytest.raises(InputError, match='could not be explained') as caught:
        engine.explain(result)
    assert caught.value.reason == 'internal_error' and engine.info.device == 'cpu'
    assert engine.explain(engine.run(SyncedSweep(CLOUD, MOTION))) and Frail.built == ['cuda:0', 'cpu']


def test_closing_twice():
    engine = PipelineSupervisor(config(), Frail)
    engine.close()
    engine.close()
    engine.reset()


@pytest.mark.ros
def test_the_node_survives_a_failing_device():
    graph = Graph({'device': 'auto'}, create_pipeline=Frail)
    try:
        graph.sweep(0.0)
        Frail.failures = [RuntimeError(CUDA_ERROR), TypeError('unforeseen')]
        graph.send(cloud(0.1))
        wait_until(lambda: graph.drops['device_error'] == 1, 'the failure is counted')
        status = graph.status('network', lambda s: s.level == s.ERROR, 'the failure')
        assert 'illegal memory access' in status.message and 'Remedy' in status.message
        graph.send(cloud(0.2))
        wait_until(lambda: graph.drops['internal_error'] == 1, 'the bug is counted')
        graph.sweep(0.3)
        status = graph.status('network', lambda s: values(s)['device'] == 'cpu', 'the device fallen back to')
        assert 'illegal memory access' in values(status)['device_note'] and values(status)['trained'] == 'false'
    finally:
        graph.close()
