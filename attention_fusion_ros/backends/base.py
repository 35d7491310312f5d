# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs a network: BEV grids in, head out. Everything before and after is the same for every backend."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from attention_fusion_ros.contracts import Calibration
from attention_fusion_ros.network.config import NetworkConfig
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput

if TYPE_CHECKING:
    from attention_fusion_ros.backends.torch_backend import TorchBackend
    from attention_fusion_ros.backends.twin import TorchTwin


@dataclass(frozen=True)
class Model:
    """What is known about the network that a backend runs."""

    name: str  # of the checkpoint
    trained: bool  # False: random weights
    network: NetworkConfig
    calibration: Calibration
    carries_map: bool = False  # whether the network can be told where earlier sweeps put the map

    @property
    def registers_map(self) -> bool:
        """Whether the network corrects where the map image lies."""
        return bool(self.network.map_registration['name'] != 'none')


@dataclass(frozen=True)
class Device:
    """A device by name, where torch is not needed to use it; `type` and `index` as those of torch.device."""

    type: str = 'cpu'
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f'{self.type}:{self.index}'


class Backend(Protocol):
    """Runs one network. Stateless: what the network has to know about earlier sweeps is an argument."""

    name: str  # value of the parameter `backend`
    model: Model
    device: Any  # where inputs should be and outputs are: torch.device, or a `Device` that takes arrays
    device_note: str  # why `device: auto` does not mean a CUDA device, '' where it does
    device_fell_back: bool  # there is a CUDA device, but it cannot be used
    threads: int  # CPU threads that `infer` takes

    def infer(self, lidar: Any, map_image: Any, history: History | None = None, prior: Any = None) -> NetworkOutput:
        """lidar (B, C, H, W), map_image (B, 3, H, W), float32 on `device`, history of B sweeps -> their outputs.

        Tensors; arrays are for backends that `take_arrays`, whose outputs then are arrays as well.

        C channels, see `bev.lidar.CHANNELS`, and the way driven (`bev.track`) where the network asks for it. prior
        (B, 13): where earlier sweeps put the map, see `attention.pose_volume.log_prior`.

        Only networks with the setting `temporal` look at the history, only those that `carry_map` at the prior.
        Outputs that the pipeline does not need (`extra`) may be missing.
        """

    def close(self) -> None:
        """Give memory and device back; `infer` must not be called any more."""


def takes_arrays(backend: Backend) -> bool:
    """Whether `infer` takes arrays, and gives arrays for them: that of a runtime other than torch, on the CPU."""
    return isinstance(backend.device, Device)


def explainer(backend: Backend) -> TorchBackend | None:
    """The backend itself where it `has_gradients`, else the same network in torch; None where that cannot be had.

    Raises ConfigurationError when its checkpoint cannot be used (any more).
    """
    if has_gradients(backend):
        return backend
    return twin.load() if (twin := _twin(backend)) is not None else None


def can_explain(backend: Backend) -> bool:
    """Whether there is an `explainer`; nothing is loaded for that."""
    return has_gradients(backend) or _twin(backend) is not None


def _twin(backend: Backend) -> TorchTwin | None:
    twin: TorchTwin | None = getattr(backend, 'twin', None)
    return twin if twin is not None and twin.is_there else None


def has_gradients(backend: Backend) -> TypeGuard[TorchBackend]:
    """Whether the backend has the network itself, in torch."""
    module = sys.modules.get('attention_fusion_ros.backends.torch_backend')
    return module is not None and isinstance(backend, module.TorchBackend)
