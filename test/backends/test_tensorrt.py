# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Backend tensorrt with stand-ins for TensorRT: engines are built once, results are torch's, faults fall back."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.network_kit import lively_config

from attention_fusion_ros.backends import tensorrt_backend
from attention_fusion_ros.backends.create import create_backend
from attention_fusion_ros.backends.export import onnx_model
from attention_fusion_ros.network.config import NetworkConfig

pytestmark = pytest.mark.skipif(not all(map(importlib.util.find_spec, ('onnxruntime', 'onnx', 'onnxscript'))),
                                reason='needs pip install onnxruntime onnx onnxscript')
SMALL = NetworkConfig(cells=64, bins=24, lidar_width=8, map_width=8, widths=(8,), blocks=(1,), polar_ranges=8,
                      polar_widths=(8,), head_width=8)


class StandIn(SimpleNamespace):
    """TensorRT as far as the backend uses it: an 'engine' is the .onnx file, ONNX Runtime runs it."""

    def __init__(self):
        self.built, self.refuses = 0, ''
        super().__init__(__version__='10.0', Runtime=lambda log: self, Builder=lambda log: self,
                         OnnxParser=self._parser, BuilderFlag=SimpleNamespace(FP16='fp16'),
                         TensorIOMode=SimpleNamespace(OUTPUT='out'))

    class Logger:
        ERROR = 1

        def __init__(self, level):
            pass

    def _parser(self, network, log):
        def parse(content):
            network.content = content
            network.inputs = [SimpleNamespace(name='lidar', shape=(-1, 5, 64, 64)),
                              SimpleNamespace(name='map', shape=(-1, 3, 64, 64))]
            return not self.refuses
        return SimpleNamespace(parse=parse, num_errors=1, get_error=lambda k: self.refuses)

    def create_network(self, flags):
        network = SimpleNamespace(num_inputs=2, content=b'', inputs=[])
        network.get_input = lambda k: network.inputs[k]
        return network

    def create_builder_config(self):
        return SimpleNamespace(set_flag=lambda flag: None, add_optimization_profile=lambda profile: None)

    def create_optimization_profile(self):
        return SimpleNamespace(set_shape=lambda name, *shapes: None)

    def build_serialized_network(self, network, settings):
        self.built += 1
        return b'engine' + network.content

    def deserialize_cuda_engine(self, content):
        return Engine(content[6:]) if content.startswith(b'engine') else None


class Engine:
    def __init__(self, onnx):
        import onnxruntime
        self.session = onnxruntime.InferenceSession(onnx, providers=['CPUExecutionProvider'])
        self.names = [v.name for v in (*self.session.get_inputs(), *self.session.get_outputs())]
        self.num_io_tensors, self.shapes, self.places = len(self.names), {}, {}

    def get_tensor_name(self, k):
        return self.names[k]

    def get_tensor_mode(self, name):
        return 'out' if name in [v.name for v in self.session.get_outputs()] else 'in'

    def create_execution_context(self):
        return self

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape

    def set_tensor_address(self, name, address):
        self.places[name] = address

    def get_tensor_shape(self, name):
        return self._answers()[name].shape

    def _answers(self):
        feed = {}
        for name, shape in self.shapes.items():
            values = (ctypes.c_float * int(np.prod(shape))).from_address(self.places[name])
            feed[name] = np.ctypeslib.as_array(values).reshape(shape)
        names = [v.name for v in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feed), strict=True))

    def execute_async_v3(self, stream):
        for name, array in self._answers().items():
            array = np.ascontiguousarray(array, np.float32)
            ctypes.memmove(self.places[name], array.ctypes.data, array.nbytes)
        return True


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """Exported already: torch looks for a real TensorRT while it does that."""
    torch.manual_seed(1)
    config = replace(lively_config(tmp_path_factory.mktemp('small'), SMALL), backend='tensorrt')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        onnx_model(config)
        yield config


@pytest.fixture
def trt(small, monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, 'tensorrt', stand_in)
    yield stand_in
    shutil.rmtree(tensorrt_backend.engine_folder(), ignore_errors=True)


def grids():
    return tuple(torch.rand(1, c, 64, 64, generator=torch.Generator().manual_seed(c)) for c in (5, 3))


def test_results_are_those_of_torch_and_the_engine_is_built_once(small, trt):
    backend, expected = create_backend(small), create_backend(replace(small, backend='torch')).infer(*grids())
    assert trt.built == 1 and not backend.device_fell_back
    torch.testing.assert_close(backend.infer(*grids()).head, expected.head, rtol=1e-3, atol=1e-4)
    backend.close()
    with pytest.raises(RuntimeError, match='closed'):
        backend.infer(*grids())
    create_backend(small)
    assert trt.built == 1  # kept
    kept, = tensorrt_backend.engine_folder().glob('*.engine')
    kept.write_bytes(b'of another version')
    create_backend(small)
    assert trt.built == 2 and kept.read_bytes().startswith(b'engine')
    trt.__version__ = '11.0'
    create_backend(small)
    assert trt.built == 3  # another version, another engine


@pytest.mark.parametrize('fault', ['missing', 'refuses'])
def test_where_it_does_not_work_torch_runs_with_one_warning(small, trt, fault, monkeypatch, caplog):
    if fault == 'missing':
        monkeypatch.setitem(sys.modules, 'tensorrt', None)
    trt.refuses = 'no such operation'
    with caplog.at_level(logging.WARNING, logger=tensorrt_backend.__name__):
        backend = create_backend(small)
    warnings = [r.getMessage() for r in caplog.records if 'cannot be used' in r.getMessage()]
    assert len(warnings) == 1 and ('no such operation' in warnings[0]) == (fault == 'refuses')
    assert 'TensorrtExecutionProvider' in warnings[0]  # the second way was tried as well
    assert backend.device_fell_back and 'tensorrt' in backend.device_note
    expected = create_backend(replace(small, backend='torch')).infer(*grids())
    assert torch.equal(backend.infer(*grids()).head, expected.head)


def test_the_provider_of_onnxruntime_is_the_second_way(small, trt, monkeypatch):
    import onnxruntime
    real, asked = onnxruntime.InferenceSession, []

    class Session:
        def __init__(self, path, providers):
            asked.extend(providers)
            self._session = real(path, providers=['CPUExecutionProvider'])

        def get_providers(self):
            return [tensorrt_backend.PROVIDER]

        def __getattr__(self, name):
            return getattr(self._session, name)
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: [tensorrt_backend.PROVIDER])
    monkeypatch.setattr(onnxruntime, 'InferenceSession', Session)
    backend = create_backend(small)
    assert not backend.device_fell_back
    (name, settings), = asked
    assert name == tensorrt_backend.PROVIDER and settings['trt_engine_cache_enable'] and settings['trt_fp16_enable']
    expected = create_backend(replace(small, backend='torch')).infer(*grids())
    torch.testing.assert_close(backend.infer(*grids()).head, expected.head, rtol=1e-3, atol=1e-4)
