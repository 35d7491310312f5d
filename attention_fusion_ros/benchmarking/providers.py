# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is compared side by side: ways from the bytes of a message to the direction, with the times of their stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from attention_fusion_ros.backends.torch_backend import TorchBackend
from attention_fusion_ros.benchmarking import sweeps, user_code
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import FusionResult, MapImage, Motion, SyncedSweep
from attention_fusion_ros.decode import decode_cloud
from attention_fusion_ros.kernels import PLAIN, chosen
from attention_fusion_ros.network.build import lidar_layers
from attention_fusion_ros.pipeline.fusion import FusionPipeline

STAGES = ('decode', 'bev', 'network', 'postprocess', 'total')
COMPILED_RUNS = 3  # of the compiled network before it counts as usable


@dataclass(frozen=True)
class Run:
    """One sweep. Times in milliseconds, by stage; `total` is from the message to the answer."""

    wall_ms: dict[str, float]
    processor_ms: dict[str, float]  # of all threads together
    result: FusionResult


class TimedPipeline(FusionPipeline):
    """The pipeline of the node, which also notes the processor time of its stages."""

    processor_ms: dict[str, float] = {}

    @contextmanager
    def _timed(self, stage_ms: dict[str, float], stage: str) -> Iterator[None]:
        used = time.process_time()
        with super()._timed(stage_ms, stage):
            yield
        self.processor_ms[stage] = 1e3 * (time.process_time() - used)


class Provider:
    """One way through the pipeline. note: what a reader has to know about it."""

    def __init__(self, name: str, pipeline: TimedPipeline, note: str = '',
                 decode: Callable[[Any], Any] = decode_cloud):
        self.name, self.pipeline, self.note, self._decode = name, pipeline, note, decode

    def message(self, plain: Any) -> Any:
        """A plain message as this provider wants to be given it; made beforehand."""
        return plain

    def run(self, message: Any, image: MapImage, stamp_ns: int) -> Run:
        """From the message to the answer."""
        self.pipeline.processor_ms = processor = {}
        start, used = time.perf_counter(), time.process_time()
        with chosen(self.pipeline.config.kernels):
            cloud = self._decode(message)
        wall = {'decode': 1e3 * (time.perf_counter() - start)}
        processor['decode'] = 1e3 * (time.process_time() - used)
        result = self.pipeline.run(SyncedSweep(replace(cloud, stamp_ns=stamp_ns), Motion(sweeps.T_BASE_SENSOR), image))
        wall.update(result.stage_ms)
        wall['total'], processor['total'] = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)
        return Run(wall, processor, result)

    def close(self) -> None:
        """Give memory back."""
        self.pipeline.close()


class UserProvider(Provider):
    """See `user_code`."""

    def __init__(self, config: NodeConfig):
        read, reads = user_code.reader()
        backend = user_code.UserBackend(config)
        pipeline = TimedPipeline(replace(config, kernels=PLAIN), backend)
        layers = len(lidar_layers(backend.model.network))
        unread = decode_cloud(sweeps.message(0, 64))  # what its preprocessor does not look at
        mine = user_code.UserPreprocessor(pipeline.grid, backend.device, config, layers)
        pipeline.preprocess = mine  # type: ignore[assignment]

        def decode(message: Any) -> Any:
            mine.points = read(message)
            return unread
        super().__init__('user', pipeline, '; '.join(note for note in (reads, backend.note) if note), decode)

    def message(self, plain: Any) -> Any:
        """As the node would receive it, where ROS is installed."""
        return user_code.ros_message(plain)


class CompiledBackend(TorchBackend):
    """The network under torch.compile. Raises whatever the compiler does where there is none that works."""

    def __init__(self, config: NodeConfig):
        super().__init__(config)
        self._compiled: Any = torch.compile(self.network)

    def infer(self, lidar: Any, map_image: Any, history: Any = None, prior: Any = None) -> Any:
        """See `Backend.infer`."""
        known = (prior,) if self.model.carries_map else ()
        last = torch.channels_last
        with torch.inference_mode():
            return self._compiled(lidar.contiguous(memory_format=last), map_image.contiguous(memory_format=last),
                                  history, *known)


def default(config: NodeConfig) -> Provider:
    """What the parameters say: today's default where they say nothing."""
    pipeline = TimedPipeline(config)
    return Provider('default', pipeline, f'backend {pipeline.backend.name}, kernels {config.kernels}')


def plain(config: NodeConfig) -> Provider:
    """The plain twins of all operations, and the network in eager torch."""
    config = replace(config, kernels=PLAIN, backend='torch')
    return Provider('plain', TimedPipeline(config), 'every operation in plain torch and numpy, network in eager torch')


def compiled(config: NodeConfig) -> Provider:
    """As the default, the network under torch.compile."""
    backend = CompiledBackend(replace(config, backend='torch'))
    pipeline = TimedPipeline(config, backend)
    pipeline.warm_up()  # compiles
    return Provider('compiled', pipeline, 'decode and BEV as the default, the network under torch.compile')


PROVIDERS: dict[str, Callable[[NodeConfig], Provider]] = {
    'default': default, 'plain': plain, 'user': UserProvider, 'compiled': compiled}


def create(name: str, config: NodeConfig) -> tuple[Provider | None, str]:
    """A provider with everything loaded, or None and why. Raises ConfigurationError for wrong parameters."""
    if name != 'compiled':
        return PROVIDERS[name](config), ''
    try:
        return PROVIDERS[name](config), ''
    except Exception as error:  # the compiler's are of many kinds: no g++, no Python.h, no place for its cache
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return None, f'torch.compile does not work here: {first}'
