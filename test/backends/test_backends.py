# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every backend gives what torch gives, on the same files, and says by name what it cannot do."""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import logging
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.messages import cloud, image
from support.network_kit import lively_config
from support.signal_stack import signal_stack_exists

from attention_fusion_ros.backends import create
from attention_fusion_ros.backends.base import explainer
from attention_fusion_ros.backends.create import BACKENDS, create_backend
from attention_fusion_ros.backends.device import default_threads
from attention_fusion_ros.backends.export import export
from attention_fusion_ros.backends.exported import describe, named_outputs, read_description
from attention_fusion_ros.bev.lidar import CHANNELS
from attention_fusion_ros.config import BACKENDS as NAMES
from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.contracts import MapImage, Motion, PointCloud, SyncedSweep
from attention_fusion_ros.decode import decode_cloud, decode_map_image
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig, mechanism
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.pipeline.supervisor import PipelineSupervisor

SMALL = NetworkConfig(cells=64, bins=24, lidar_width=8, map_width=8, widths=(8, 8), blocks=(1, 1), polar_ranges=8,
                      polar_widths=(8,), head_width=8, encoder_attention=mechanism('cbam_spatial'),
                      map_registration=mechanism('stn', width=4))
TOLERANCE = 1e-4
EXPORTED = [pytest.param(name, marks=pytest.mark.skipif(
    not all(map(importlib.util.find_spec, (name, 'onnx', 'onnxscript'))),
    reason=f'needs pip install {name} onnx onnxscript')) for name in ('onnxruntime', 'openvino')]


def street() -> SyncedSweep:
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-35, 35, (6000, 3)).astype(np.float32) * np.float32([1, 0.4, 0.02])
    road = np.zeros((320, 320), np.float32)
    road[:, 150:170] = 1.0
    return SyncedSweep(PointCloud(5, 'base_link', xyz, rng.random(6000).astype(np.float32)), Motion(np.eye(4)),
                       MapImage(5, 'base_link', road, None))


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> NodeConfig:
    """A checkpoint with everything that is exported by name: attention in the encoder, and registration."""
    torch.manual_seed(1)
    return lively_config(tmp_path_factory.mktemp('small'), SMALL)


@pytest.fixture(scope='module')
def onnx_file(small, tmp_path_factory) -> str:
    done, = export(checkpoints.load(small.checkpoint), tmp_path_factory.mktemp('exported'), ['onnx'])
    return str(done.path)


@pytest.mark.parametrize('changes, words', [
    ({'checkpoint': 'plain text'}, 'Export the .safetensors checkpoint again'),
    ({'kind': '"another"'}, "not written by the 'export' command"),
    ({'version': '0'}, 'format version 0'),
    ({'head_channels': '["presence"]'}, 'format version'),
    ({'network': '{"wings": 2}'}, 'wings')])
def test_descriptions_that_do_not_fit_are_named(small, changes, words):
    texts = describe(checkpoints.load(small.checkpoint))
    assert read_description(Path('model.onnx'), texts) == create_backend(small).model
    with pytest.raises(ConfigurationError, match=words):
        read_description(Path('model.onnx'), {**texts, **changes})


def test_the_parameter_names_every_backend():
    assert ('auto', *BACKENDS) == NAMES
    page = (Path(__file__).parents[2] / 'docs' / 'export.md').read_text().split('## Backends')[1].split('\n## ')[0]
    assert tuple(re.findall(r'^\| `(\w+)`.*\|$', page, re.MULTILINE)[1:]) == NAMES  # the first row is the heading


@pytest.mark.parametrize('name', EXPORTED)
def test_exported_files_give_the_same_outputs(name, small, onnx_file):
    torch_backend = create_backend(small)
    other = create_backend(replace(small, backend=name, checkpoint=onnx_file))
    assert other.model == torch_backend.model and other.name == name and other.device.type == 'cpu'
    assert other.device_note == ''  # that was asked for
    random = torch.Generator().manual_seed(3)
    for batch in (1, 3):
        lidar, image = (torch.rand(batch, c, 64, 64, generator=random) for c in (len(CHANNELS), 3))
        expected, found = (named_outputs(b.infer(lidar, image)) for b in (torch_backend, other))
        unread = {'road'} if name == 'onnxruntime' else set()
        assert found.keys() == expected.keys() - unread and {'spatial_encoder_spatial', 'alignment_std'} <= found.keys()
        for output, values in ((output, expected[output]) for output in found):
            torch.testing.assert_close(found[output], values, rtol=0, atol=TOLERANCE, msg=output)
    assert expected['head'].std() > 0.01
    for backend in (torch_backend, other):
        backend.close()
        with pytest.raises(RuntimeError, match='closed'):
            backend.infer(lidar, image)


def test_exported_files_hold_no_padding_that_openvino_does_not_read(onnx_file):
    """Pad with mode wrap: bearings are circular, and padded by slices instead."""
    onnx = pytest.importorskip('onnx')
    nodes = onnx.load(onnx_file).graph.node
    modes = {attribute.s for node in nodes if node.op_type == 'Pad' for attribute in node.attribute
             if attribute.name == 'mode'}
    assert len(nodes) > 50 and b'wrap' not in modes


def test_exported_files_resize_by_constants(tmp_path):
    """By sizes that depend on the number of sweeps ONNX Runtime has no fast way, and reorders the features twice."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    reads = replace(SMALL, widths=(8, 8, 8), blocks=(1, 1, 1), reading=mechanism('place_attention', heads=4))
    exported, = export(checkpoints.load(lively_config(tmp_path, reads).checkpoint), tmp_path, ['onnx'])
    graph = onnx.load(exported.path).graph
    constants = {tensor.name for tensor in graph.initializer}
    resizes = [node for node in graph.node if node.op_type == 'Resize']
    assert len(resizes) >= 3 and all(len(node.input) == 3 and node.input[2] in constants for node in resizes)


def test_nothing_that_is_not_finite_reaches_a_backend(small):
    """Behind a maximum or a ReLU, onnxruntime and OpenVINO do not show it in their answer."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-30, 30, (3000, 3)) * [1, 1, 0.03]
    xyz[::7, 0], xyz[1::7, 1], xyz[2::7, 2] = np.nan, np.inf, -np.inf
    intensity = np.where(np.arange(3000) % 5 == 0, np.nan, rng.random(3000))
    road = np.full((320, 320), np.nan, np.float32)
    road[:, 150:170] = 1.0
    sweep = SyncedSweep(decode_cloud(cloud({**dict(zip('xyz', xyz.T)), 'intensity': intensity})), Motion(np.eye(4)),
                        decode_map_image(image(road, '32FC1')))
    pipeline = FusionPipeline(small)
    seen = []
    pipeline.backend.network.register_forward_pre_hook(lambda module, given: seen.extend(given))
    pipeline.run(sweep)
    grids = [value for value in seen if isinstance(value, torch.Tensor)]
    assert len(grids) >= 2 and all(grid.isfinite().all() for grid in grids) and grids[1].any()


@pytest.mark.parametrize('name', EXPORTED)
def test_the_pipeline_gives_the_same_result_on_every_backend(name, small, onnx_file):
    sweep = street()
    expected = FusionPipeline(small).run(sweep)
    pipeline = FusionPipeline(replace(small, backend=name, checkpoint=onnx_file))
    result = pipeline.run(sweep)
    assert pipeline.info.backend == name and len(result.branches) == len(expected.branches) > 0
    for a, b in zip(result.branches, expected.branches, strict=True):
        assert (a.bearing, a.heading, a.probability, a.bearing_std) == pytest.approx(
            (b.bearing, b.heading, b.probability, b.bearing_std), abs=TOLERANCE)
    assert result.distribution == pytest.approx(expected.distribution, abs=TOLERANCE)
    assert result.attention.map_share == pytest.approx(expected.attention.map_share, abs=TOLERANCE)
    assert result.attention.spatial.keys() == expected.attention.spatial.keys()
    assert (result.alignment.dx, result.alignment.dyaw) == pytest.approx((expected.alignment.dx,
                                                                          expected.alignment.dyaw), abs=TOLERANCE)


@pytest.mark.parametrize('name', EXPORTED)
def test_grad_cam_of_an_exported_network_is_that_of_its_checkpoint(name):
    expected, other = (FusionPipeline(NodeConfig(device='cpu', threads=1, backend=b)) for b in ('torch', name))
    assert expected.explains and other.explains
    ours, theirs = (pipeline.explain(pipeline.run(street())) for pipeline in (expected, other))
    assert ours.keys() == theirs.keys() and ours
    most = max(values.max() for values in ours.values())
    assert most > 0
    for stage, values in ours.items():
        np.testing.assert_allclose(theirs[stage], values, atol=TOLERANCE * most)
    assert explainer(other.backend) is explainer(other.backend), 'loaded once'


@pytest.mark.parametrize('changes, name', [
    ({}, 'onnxruntime'), ({'device': 'auto'}, 'onnxruntime'), ({'kernels': 'plain'}, 'torch'),
    ({'checkpoint': 'two_readings'}, 'torch')])
def test_auto_takes_the_exported_file_that_ships_on_the_cpu(changes, name, monkeypatch):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('numba')
    monkeypatch.setattr(create, 'has_cuda_hardware', lambda: False)
    backend = create_backend(replace(NodeConfig(device='cpu', threads=1), **changes))
    assert backend.name == name
    backend.close()


def test_auto_takes_torch_where_there_is_a_cuda_device(monkeypatch):
    monkeypatch.setattr(create, 'has_cuda_hardware', lambda: True)
    assert create_backend(NodeConfig(threads=1)).name == 'torch'
    if importlib.util.find_spec('onnxruntime') and importlib.util.find_spec('numba'):
        assert create_backend(NodeConfig(device='cpu', threads=1)).name == 'onnxruntime'


def test_threads_of_onnxruntime_do_not_wait_busily_between_sweeps(small, onnx_file):
    """Most of a core for each thread."""
    pytest.importorskip('onnxruntime')
    backend = create_backend(replace(small, backend='onnxruntime', checkpoint=onnx_file, threads=2))
    options = backend._session.get_session_options()
    assert options.get_session_config_entry('session.force_spinning_stop') == '1'
    assert options.intra_op_num_threads == 2
    backend.close()


def test_auto_runs_an_exported_file(small, onnx_file):
    pytest.importorskip('onnxruntime')
    assert create_backend(replace(small, backend='auto', checkpoint=onnx_file)).name == 'onnxruntime'


@pytest.mark.parametrize('name', EXPORTED)
def test_what_needs_gradients_says_which_backend_has_none(name, small, onnx_file):
    pipeline = FusionPipeline(replace(small, backend=name, checkpoint=onnx_file))
    assert not pipeline.explains
    with pytest.raises(InputError, match=f'backend {name} .* use backend torch') as caught:
        pipeline.explain(pipeline.run(street()))
    assert caught.value.reason == 'no_gradients'


@pytest.mark.parametrize('name', EXPORTED)
def test_a_checkpoint_that_vanishes_or_changes_costs_grad_cam_alone(name, small, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    path = tmp_path / 'mine.safetensors'
    kept = Path(small.checkpoint).read_bytes()
    path.write_bytes(kept)
    engine = PipelineSupervisor(replace(small, backend=name, checkpoint=str(path)))
    for other in (None, checkpoints.SHIPPED.read_bytes()):
        path.unlink() if other is None else path.write_bytes(other)
        result = engine.run(street())
        with pytest.raises(InputError, match='mine.*removed or replaced.*Remedy: put the file back') as caught:
            engine.explain(result)
        assert caught.value.reason == 'no_gradients'
    path.write_bytes(kept)
    assert engine.explain(result)
    path.unlink()
    assert engine.explain(result), 'loaded by now'


@pytest.mark.parametrize('name', EXPORTED)
def test_a_safetensors_checkpoint_is_exported_once(name, small, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with caplog.at_level(logging.WARNING):
        first, second = (create_backend(replace(small, backend=name)) for _ in range(2))
    assert len([r for r in caplog.records if 'exporting checkpoint' in r.getMessage()]) == 1
    assert len(list(tmp_path.rglob('*.onnx'))) == 1 and first.model == second.model == create_backend(small).model


@pytest.mark.parametrize('name', EXPORTED)
def test_without_the_exporter_the_command_is_named(name, small, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda m, *a: None if m.startswith('onnxs') else real(m, *a))
    command = f'pip install onnxscript, or run .export --checkpoint {small.checkpoint}'
    with pytest.raises(ConfigurationError, match=command):
        create_backend(replace(small, backend=name))


@pytest.mark.parametrize('name', EXPORTED)
def test_a_cache_that_cannot_be_written_is_named(name, small, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(ConfigurationError, match='cannot be written.*XDG_CACHE_HOME'):
        create_backend(replace(small, backend=name))


@pytest.mark.parametrize('name', EXPORTED)
def test_files_of_other_programs_are_named(name, small, tmp_path):
    (tmp_path / 'other.onnx').write_bytes(b'not a model')
    with pytest.raises(ConfigurationError, match='other.onnx'):
        create_backend(replace(small, backend=name, checkpoint=str(tmp_path / 'other.onnx')))
    with pytest.raises(ConfigurationError, match='does not exist'):
        create_backend(replace(small, backend=name, checkpoint='/nowhere/model.onnx'))


def test_a_network_with_a_history_is_refused_by_other_backends(tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    settings = replace(SMALL, temporal=mechanism('temporal', keys=4), time_steps=2)
    with pytest.raises(ConfigurationError, match='earlier sweeps'):
        create_backend(replace(lively_config(tmp_path, settings), backend='onnxruntime'))


@pytest.mark.parametrize('name', [n for n, entry in BACKENDS.items() if entry.package not in ('', 'torch')])
def test_a_backend_that_is_not_installed_is_one_error_with_the_pip_line(name, monkeypatch):
    entry, real = BACKENDS[name], importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda m, *a: None if m == entry.package else real(m, *a))
    with pytest.raises(ConfigurationError, match=f'not installed: pip install {re.escape(entry.pip)}'):
        create_backend(from_flat({'backend': name}))


@pytest.mark.parametrize('missing, found', [((), 'onnxruntime'), (('torch',), 'onnxruntime'),
                                            (('onnxruntime',), 'torch'),
                                            (('torch', 'onnxruntime'), 'openvino'),
                                            (('torch', 'onnxruntime', 'openvino'), '')])
def test_auto_is_what_is_installed(missing, found, monkeypatch):
    for name in {'onnxruntime', 'openvino'} - set(missing):
        pytest.importorskip(name)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda m, *a: None if m in missing else real(m, *a))
    if found:
        assert create_backend(from_flat({'device': 'cpu'})).name == found
    else:
        with pytest.raises(ConfigurationError, match='pip install torch'):
            create_backend(from_flat({'device': 'cpu'}))


def test_backends_that_run_on_the_cpu_only_refuse_another_device():
    pytest.importorskip('openvino')
    with pytest.raises(ConfigurationError, match='openvino runs on the CPU'):
        create_backend(from_flat({'backend': 'openvino', 'device': 'cuda:0'}))


def test_an_exported_file_given_to_torch_is_told_what_it_is(onnx_file):
    with pytest.raises(ConfigurationError, match='set the parameter backend to onnxruntime'):
        create_backend(from_flat({'checkpoint': onnx_file, 'backend': 'torch'}))


def test_constructing_and_running_a_pipeline_leaves_the_threads_of_the_process_alone(small):
    before = torch.get_num_threads()
    pipeline = FusionPipeline(replace(small, threads=before + 1))
    seen = []
    hook = pipeline.backend.network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    try:
        pipeline.run(street())
    finally:
        hook.remove()
    assert seen == [before + 1] and torch.get_num_threads() == before
    assert create_backend(replace(small, threads=0)).threads == default_threads()


@pytest.mark.parametrize('name', EXPORTED)
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc/self/maps')
def test_a_pipeline_may_be_closed_by_another_thread(name, onnx_file):
    """The main thread keeps a signal stack that exists: the next signal would end the process."""
    before = faulthandler.is_enabled()  # as under pytest and many programs: signals have a stack of their own then
    if not before:
        faulthandler.enable(sys.__stderr__)
    try:
        pipelines = [FusionPipeline(from_flat({'checkpoint': onnx_file, 'backend': name, 'device': 'cpu'}))]
        pipelines[0].run(street())

        def close():
            pipelines.pop().close()
            gc.collect()

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
        assert signal_stack_exists()
    finally:
        if not before:
            faulthandler.disable()
