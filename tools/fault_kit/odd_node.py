# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The node with a network that fails when a file says so: python odd_node.py WISH DEVICE --ros-args ...

WISH: a file with one of the words in `OddPipeline`. DEVICE: what it says that it runs on (cuda, auto; empty: the CPU).
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

import torch  # noqa: E402

from attention_fusion_ros.pipeline.fusion import FusionPipeline  # noqa: E402
from attention_fusion_ros.ros.node import managed  # noqa: E402
from attention_fusion_ros.ros.node.node import AttentionFusionNode  # noqa: E402

WISH, DEVICE = Path(sys.argv[1]), sys.argv[2]


def make(config):
    """The pipeline on the CPU; one that calls itself cuda where that is wished for, unless the CPU was asked for."""
    return OddPipeline(dataclasses.replace(config, device='cpu'), pretends=bool(DEVICE) and config.device != 'cpu')


class OddBackend:
    """A backend whose outputs are NaN when the file says so."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def infer(self, *inputs):
        """As the backend, or NaN."""
        output = self._backend.infer(*inputs)
        return _spoiled(output) if WISH.read_text() == 'nan' else output


def _spoiled(value):
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, math.nan) if value.is_floating_point() else value
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: _spoiled(getattr(value, name)) for name in names})
    if isinstance(value, dict):
        return {name: _spoiled(entry) for name, entry in value.items()}
    return type(value)(map(_spoiled, value)) if isinstance(value, (tuple, list)) else value


class OddPipeline(FusionPipeline):
    """Fails as the file says: lost, memory, memory once (as a GPU), cpu memory, bug, nan, hang."""

    def __init__(self, config, pretends: bool):
        self._pretends = pretends
        self._fail(making=True)
        super().__init__(config)
        self.backend = OddBackend(self.backend)

    @property
    def info(self):
        """That of the CPU, under the name of the device."""
        found = super().info
        return dataclasses.replace(found, device='cuda:0') if self._pretends else found

    def run(self, sweep):
        """As it is, or as the file says."""
        self._fail()
        return super().run(sweep)

    def _fail(self, making: bool = False) -> None:
        wish = WISH.read_text()
        if self._pretends and wish == 'lost':
            raise RuntimeError('CUDA error: an illegal memory access was encountered')
        if self._pretends and wish in ('memory', 'memory once'):
            if wish == 'memory once':
                WISH.write_text('')
            raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
        if not making and wish == 'cpu memory':
            raise MemoryError('Unable to allocate 8.00 GiB for an array')
        if not making and wish == 'bug':
            raise ZeroDivisionError('division by zero')
        if not making and wish == 'hang':
            WISH.write_text('')
            time.sleep(8.0)


if __name__ == '__main__':
    sys.exit(managed.run(lambda: AttentionFusionNode(create_pipeline=make), sys.argv[3:], '--activate' in sys.argv))
