# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The exported network in TensorRT, in half precision: by its own interface, or as a provider of ONNX Runtime.

The engine is built when the node is configured, which takes minutes, and kept by a hash of all that it depends on: the
file, the version of TensorRT, the device. Where neither way works the network runs in torch, with one warning.

Not run on a GPU yet: the tests do with stand-ins for TensorRT and ONNX Runtime.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/python-api-docs.html
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_fusion_ros.backends.device import choose_device
from attention_fusion_ros.backends.exported import input_names, network_output, nothing_known, read_description
from attention_fusion_ros.backends.onnx_file import onnx_model
from attention_fusion_ros.backends.torch_backend import TorchBackend
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.digest import digest

logger = logging.getLogger(__name__)

PROVIDER = 'TensorrtExecutionProvider'
BATCHES = (1, 1, 16)  # least, best and most sweeps at once
Run = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]  # inputs by name -> outputs by name


class TensorRtBackend:
    """Runs an .onnx file in TensorRT; where that does not work, a checkpoint in torch.

    Raises ConfigurationError when checkpoint or device cannot be used at all.
    """

    name = 'tensorrt'
    threads = 1

    def __init__(self, config: NodeConfig):
        chosen = choose_device(config.device)
        self.device, self.device_note, self.device_fell_back = chosen
        self._run: Run | None = None
        self._torch: TorchBackend | None = None
        reasons = []
        try:
            path = onnx_model(config)
            for way in (_by_itself, _in_onnxruntime):
                try:
                    self._run, texts = way(path, self.device)
                    self.model = read_description(path, texts)
                    return
                except Exception as error:  # not installed, no device, an operation that it does not know, no memory
                    reasons.append((str(error).strip().splitlines() or [type(error).__name__])[0])
        except ConfigurationError as error:  # there is no file to run
            reasons.append(str(error))
        logger.warning('backend tensorrt cannot be used, the network runs in torch: %s', '; '.join(reasons))
        self._torch = TorchBackend(config)
        self.model, self.threads = self._torch.model, self._torch.threads
        self.device, self.device_note = self._torch.device, f"backend tensorrt cannot be used: {'; '.join(reasons)}"
        self.device_fell_back = True

    def infer(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
              prior: Tensor | None = None) -> NetworkOutput:
        """See `Backend.infer`; of earlier sweeps only the prior is looked at."""
        if self._torch is not None:
            return self._torch.infer(lidar, map_image, history, prior)
        if self._run is None:
            raise RuntimeError('this backend has been closed')
        given = lidar, map_image, nothing_known(lidar) if prior is None else prior
        names = input_names(self.model.network)
        feed = {name: value.float().contiguous() for name, value in zip(names, given)}
        return network_output(self._run(feed), self.model.network)

    def close(self) -> None:
        """Give memory and device back."""
        self._run = None
        if self._torch is not None:
            self._torch.close()


def engine_folder() -> Path:
    """Where engines are kept."""
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'attention_fusion_ros' / 'tensorrt'


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else 'cpu'


def _by_itself(path: Path, device: torch.device) -> tuple[Run, Mapping[str, str]]:
    """TensorRT's own interface (10 and later), which reads and writes tensors where they lie."""
    trt = importlib.import_module('tensorrt')
    log = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(log)
    key = digest([path], [trt.__version__, _device_name(device), list(BATCHES)], 16)
    kept = engine_folder() / f'{path.stem}-{key}.engine'
    engine = runtime.deserialize_cuda_engine(kept.read_bytes()) if kept.is_file() else None
    if engine is None:  # none yet, or one that cannot be read any more
        logger.warning('building the TensorRT engine of %s once, which takes minutes, to %s', path.name, kept)
        built = _build(trt, log, path)
        engine = runtime.deserialize_cuda_engine(built)
        if engine is None:
            raise RuntimeError('TensorRT cannot read the engine that it has built')
        atomic.write_bytes(kept, bytes(built))
    context = engine.create_execution_context()
    every = [engine.get_tensor_name(k) for k in range(engine.num_io_tensors)]
    outputs = [name for name in every if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]

    def run(feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for name, value in feed.items():
            if name in every:
                context.set_input_shape(name, tuple(value.shape))
                context.set_tensor_address(name, value.data_ptr())
        found = {name: torch.empty(tuple(context.get_tensor_shape(name)), device=device) for name in outputs}
        for name, value in found.items():
            context.set_tensor_address(name, value.data_ptr())
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == 'cuda' else 0
        if not context.execute_async_v3(stream):
            raise RuntimeError('TensorRT has failed to run the network')
        return found
    return run, _metadata(path)


def _build(trt: Any, log: Any, path: Path) -> Any:
    """An .onnx file as a serialised engine. Raises RuntimeError with what TensorRT does not like about it."""
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(path.read_bytes()):
        raise RuntimeError('TensorRT cannot read it: ' + '; '.join(str(parser.get_error(k))
                                                                   for k in range(parser.num_errors)))
    settings, profile = builder.create_builder_config(), builder.create_optimization_profile()
    settings.set_flag(trt.BuilderFlag.FP16)
    for k in range(network.num_inputs):
        given = network.get_input(k)
        profile.set_shape(given.name, *((batch, *tuple(given.shape)[1:]) for batch in BATCHES))
    settings.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, settings)
    if built is None:
        raise RuntimeError('TensorRT cannot build an engine of it')
    return built


def _metadata(path: Path) -> Mapping[str, str]:
    onnx = importlib.import_module('onnx')
    described = onnx.load(str(path), load_external_data=False).metadata_props
    return {entry.key: entry.value for entry in described}


def _in_onnxruntime(path: Path, device: torch.device) -> tuple[Run, Mapping[str, str]]:
    """ONNX Runtime's TensorRT provider, which keeps its engines itself."""
    onnxruntime = importlib.import_module('onnxruntime')
    if PROVIDER not in onnxruntime.get_available_providers():
        raise RuntimeError(f'the installed onnxruntime has no {PROVIDER}')
    folder = engine_folder()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {'device_id': device.index or 0, 'trt_fp16_enable': True, 'trt_engine_cache_enable': True,
                'trt_engine_cache_path': str(folder)}
    session = onnxruntime.InferenceSession(str(path), providers=[(PROVIDER, settings)])
    if PROVIDER not in session.get_providers():
        raise RuntimeError(f'onnxruntime cannot use its {PROVIDER}')
    outputs: Sequence[str] = [output.name for output in session.get_outputs()]

    def run(feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = session.run(list(outputs), {name: value.cpu().numpy() for name, value in feed.items()})
        return {name: torch.from_numpy(array).to(device) for name, array in zip(outputs, arrays, strict=True)}
    return run, session.get_modelmeta().custom_metadata_map
