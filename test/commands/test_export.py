# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`export` writes files that other runtimes read and that answer as the network does."""

from __future__ import annotations

import importlib.util
import json
import logging

import pytest
import torch

from attention_fusion_ros.backends import export as exporting
from attention_fusion_ros.backends.exportable import Exportable
from attention_fusion_ros.commands import export
from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.model import FusionNetwork

SMALL = NetworkConfig(cells=32, bins=24, lidar_width=8, map_width=8, widths=(8,), blocks=(1,), polar_ranges=8,
                      polar_widths=(8,), head_width=8)
NAMES = ['head', 'no_direction', 'road', 'channel', 'contribution', 'spatial_stage1']
needs_onnx = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnx', 'onnxscript', 'onnxruntime'))),
                                reason='needs pip install onnx onnxscript onnxruntime')


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    network = FusionNetwork(SMALL).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if name.endswith('running_var') else tensor.uniform_(-0.3, 0.3)
    return network


@pytest.fixture(scope='module')
def small(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'small.safetensors'
    checkpoints.save(path, network, Calibration(), {})
    return path


@pytest.mark.slow
def test_pt2(small, network, tmp_path, capsys):
    assert export.main(['--checkpoint', str(small), '--out', str(tmp_path), '--format', 'pt2']) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ('small.pt2', *NAMES)) and 'MORE THAN' not in out
    about = {'network.json': '', 'calibration.json': ''}
    program = torch.export.load(str(tmp_path / 'small.pt2'), extra_files=about)
    assert NetworkConfig.from_dict(json.loads(about['network.json'])) == SMALL
    inputs = exporting.random_inputs(network, 3, seed=7)
    with torch.no_grad():
        found, expected = program.module()(*inputs), network(*inputs)
    torch.testing.assert_close(found[0], expected.head)
    torch.testing.assert_close(found[5], expected.spatial['stage1'])


REGISTERED = NetworkConfig.from_dict({**SMALL.to_dict(), 'map_registration': {'name': 'stn', 'width': 4}})


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['pt2', pytest.param('onnx', marks=needs_onnx)])
def test_a_network_that_registers_the_map(kind, tmp_path):
    torch.manual_seed(0)
    network = FusionNetwork(REGISTERED).eval()
    with torch.no_grad():
        network.map_registration.regression.bias.uniform_(-0.5, 0.5)
    exported = []
    for done in exporting.export(checkpoints.Checkpoint(network, Calibration(), 'registered', True), tmp_path, (kind,)):
        exported.append(done)
        assert logging.root.manager.disable == logging.NOTSET, 'the caller gets its log back'
    done, = exported
    assert list(done.differences)[-2:] == ['alignment', 'alignment_std']
    assert max(done.differences.values()) <= exporting.TOLERANCE
    assert network(*exporting.random_inputs(network, 1, 0)).alignment.abs().min() > 0.001, 'it was moved'


def test_a_network_with_a_memory_is_refused(tmp_path):
    network = FusionNetwork(NetworkConfig.from_dict({**SMALL.to_dict(), 'time_steps': 2,
                                                     'temporal': {'name': 'temporal', 'keys': 4}}))
    with pytest.raises(ConfigurationError, match='earlier sweeps'):
        list(exporting.export(checkpoints.Checkpoint(network, Calibration(), 'remembers', True), tmp_path, ('pt2',)))


@pytest.mark.slow
@needs_onnx
def test_onnx(small, network, tmp_path, capsys):
    import onnxruntime
    assert export.main(['--checkpoint', str(small), '--out', str(tmp_path), '--format', 'onnx']) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / 'small.onnx'), providers=['CPUExecutionProvider'])
    assert [i.name for i in session.get_inputs()] == ['lidar', 'map']
    assert [o.name for o in session.get_outputs()] == NAMES
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about['head_channels'])[0] == 'presence' and json.loads(about['trained']) is True
    inputs = exporting.random_inputs(network, 3, seed=7)
    with torch.no_grad():
        expected = network(*inputs)
    found = session.run(None, {'lidar': inputs[0].numpy(), 'map': inputs[1].numpy()})
    torch.testing.assert_close(torch.from_numpy(found[0]), expected.head, rtol=0, atol=1e-4)
    assert expected.head.std() > 0.01  # there is something to compare

    # Without onnxruntime the file is still written, and it is said that nobody compared it.
    real = importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, 'find_spec', lambda name, *a: None if name == 'onnxruntime' else real(name, *a))
        done = list(exporting.export(checkpoints.load(small), tmp_path / 'again', ('onnx',)))
    assert done[0].path.exists() and done[0].differences is None and 'pip install onnxruntime' in done[0].note


def test_a_file_with_other_weights_is_found_out(small, network, tmp_path, capsys):
    def another(path, inputs):
        out = Exportable(network)(*inputs)
        return [out[0] + 1e-3, *out[1:]]
    with torch.inference_mode():
        different = exporting.differences(tmp_path, another, network, NAMES)
    assert different['head'] == pytest.approx(1e-3, rel=0.01) and different['road'] == 0
    (tmp_path / 'file').touch()
    assert not export.report(exporting.Exported(tmp_path / 'file', different))
    assert 'MORE THAN' in capsys.readouterr().out


@pytest.mark.parametrize('arguments, words', [
    (['--checkpoint', 'untrained'], 'allow_untrained'), (['--checkpoint', '/nowhere.safetensors'], 'does not exist')])
def test_mistakes_are_one_line(arguments, words, tmp_path, capsys):
    assert export.main([*arguments, '--out', str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith('error:') and error.count('\n') == 1


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *_: None)
    with pytest.raises(ConfigurationError, match='pip install onnx onnxscript'):
        exporting.write_onnx(None, tmp_path / 'x.onnx', {}, NAMES, ['lidar', 'map'])
