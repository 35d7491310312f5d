# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The same work as a user would write it first: read_points, numpy's ufunc.at, eager torch with CBAM as timm has it.

It is there to be compared with, and does less: the ground is the lowest point of each coarse cell, and nobody asks what
was looked at. Its attention has weights of its own, so that its answers mean nothing; its times do.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.cbam import CBAM, ChannelAttention, SpatialAttention
from attention_fusion_ros.backends.torch_backend import TorchBackend
from attention_fusion_ros.bev import lidar, map_image
from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.contracts import Mode, SyncedSweep
from attention_fusion_ros.network.history import History
from attention_fusion_ros.network.output import NetworkOutput
from attention_fusion_ros.pipeline.preprocess import Features, MapFeatures

COARSE_CELLS = 32  # along an edge, for the ground
REDUCTION = 16  # of timm's channel attention


def reader() -> tuple[Callable[[Any], np.ndarray], str]:
    """What reads a message to a structured array of x, y, z and intensity, and a note where it is not the usual one.

    `sensor_msgs_py.point_cloud2.read_points` where it and the messages are installed.
    """
    try:
        point_cloud2 = importlib.import_module('sensor_msgs_py.point_cloud2')
        importlib.import_module('sensor_msgs.msg')
    except ImportError as error:
        return _read_structured, f'read with numpy.frombuffer: {error}'

    def read(message: Any) -> np.ndarray:
        points: np.ndarray = point_cloud2.read_points(message, ('x', 'y', 'z', 'intensity'), skip_nans=True)
        return points
    return read, ''


def ros_message(message: Any) -> Any:
    """A plain message -> sensor_msgs/PointCloud2, where that is installed; else the message itself."""
    try:
        messages, header = importlib.import_module('sensor_msgs.msg'), importlib.import_module('std_msgs.msg').Header()
    except ImportError:
        return message
    header.stamp.sec, header.stamp.nanosec = message.header.stamp.sec, message.header.stamp.nanosec
    header.frame_id = message.header.frame_id
    made = messages.PointCloud2(
        header=header, height=message.height, width=message.width, is_bigendian=message.is_bigendian,
        point_step=message.point_step, row_step=message.row_step, is_dense=message.is_dense,
        fields=[messages.PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count)
                for f in message.fields])
    made._data = importlib.import_module('array').array('B', message.data)  # as rclpy hands it over
    return made


def _read_structured(message: Any) -> np.ndarray:
    wanted = [field for field in message.fields if field.name in ('x', 'y', 'z', 'intensity')]
    dtype = np.dtype({'names': [f.name for f in wanted], 'formats': ['<f4'] * len(wanted),
                      'offsets': [f.offset for f in wanted], 'itemsize': message.point_step})
    points = np.frombuffer(message.data, dtype)
    return points[~np.isnan(points['x'])]


class UserPreprocessor:
    """Points and map image on the grid, in numpy and OpenCV. Called with a sweep, like `Preprocessor`."""

    def __init__(self, grid: Grid, device: torch.device, config: NodeConfig, layers: int):
        self.grid, self.device, self.config, self.layers = grid, device, config, layers
        self.points: np.ndarray = np.zeros(0)  # of the sweep, structured; set before each call

    def __call__(self, sweep: SyncedSweep, remember: bool = True) -> Features:
        """As `Preprocessor`, without what was looked at."""
        grids = np.zeros((self.layers, self.grid.cells, self.grid.cells), np.float32)
        grids[:len(lidar.CHANNELS)] = self._lidar(sweep.motion.T_base_sensor)
        return Features(sweep.cloud.stamp_ns, torch.from_numpy(grids).to(self.device),
                        MapFeatures(torch.from_numpy(self._map(sweep)).to(self.device), Mode.FUSED, ''))

    def update(self, config: NodeConfig) -> None:
        """Nothing changes."""

    def reset(self) -> None:
        """Nothing is remembered."""

    def _lidar(self, T: np.ndarray) -> np.ndarray:
        points, grid, limits = self.points, self.grid, self.config.cloud
        xyz = np.stack([points['x'], points['y'], points['z'], np.ones(len(points))], axis=1)
        x, y, z = (xyz @ T.T)[:, :3].T
        inside = (np.abs(x) < grid.extent) & (np.abs(y) < grid.extent) & (np.hypot(x, y) >= limits.min_range)
        x, y, z, intensity = x[inside], y[inside], z[inside], points['intensity'][inside]
        coarse = self._cells(x, y, COARSE_CELLS)
        ground = np.full(COARSE_CELLS ** 2, np.inf)
        np.minimum.at(ground, coarse, z)
        height = z - ground[coarse]
        useful = (height > lidar.BELOW_GROUND_M) & (height < limits.max_height)
        height, cell = height[useful], self._cells(x[useful], y[useful], grid.cells)
        low, middle, high = np.percentile(intensity, (10, 50, 90))
        value = np.clip((intensity[useful] - middle) / max(high - low, lidar.MIN_SPREAD), -1, 1)
        count, total = np.zeros(grid.cells ** 2), np.zeros(grid.cells ** 2)
        top, bottom = np.full(grid.cells ** 2, -np.inf), np.full(grid.cells ** 2, np.inf)
        np.add.at(count, cell, 1)
        np.add.at(total, cell, value)
        np.maximum.at(top, cell, height)
        np.minimum.at(bottom, cell, height)
        top[count == 0], bottom[count == 0] = 0, 0
        full = math.log1p(lidar.HEIGHT_FULL_M / lidar.HEIGHT_UNIT_M)

        def compress(h: np.ndarray) -> np.ndarray:
            return np.sign(h) * np.log1p(np.abs(h) / lidar.HEIGHT_UNIT_M) / full
        channels = [compress(top), compress(bottom), compress(top - bottom),
                    np.log1p(count) / math.log1p(lidar.DENSITY_FULL), total / np.maximum(count, 1)]
        return np.stack(channels).reshape(len(channels), grid.cells, grid.cells).astype(np.float32)

    def _cells(self, x: np.ndarray, y: np.ndarray, cells: int) -> np.ndarray:
        row, column = (((self.grid.extent - v) * (cells / (2 * self.grid.extent))).astype(int) for v in (x, y))
        return np.clip(row, 0, cells - 1) * cells + np.clip(column, 0, cells - 1)

    def _map(self, sweep: SyncedSweep) -> np.ndarray:
        image, grid, layout = sweep.map_image, self.grid, self.config.map
        assert image is not None
        height, width = image.road.shape
        scale = grid.resolution / layout.resolution  # pixels a cell
        first = [layout.anchor[0] * width - grid.cells / 2 * scale, layout.anchor[1] * height - grid.cells / 2 * scale]
        to_image = np.array([[scale, 0, first[0] + scale / 2 - 0.5], [0, scale, first[1] + scale / 2 - 0.5]])
        layers = [image.road, np.zeros_like(image.road) if image.route is None else image.route,
                  np.ones_like(image.road)]
        assert len(layers) == len(map_image.CHANNELS)
        return np.stack([cv2.warpAffine(layer, to_image, (grid.cells, grid.cells),
                                        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) for layer in layers])


class _ChannelAttn(nn.Module):
    """As timm.layers.cbam.ChannelAttn is written."""

    def __init__(self, channels: int):
        super().__init__()
        width = max(1, channels // REDUCTION)
        self.fc1, self.fc2 = nn.Conv2d(channels, width, 1, bias=False), nn.Conv2d(width, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        average, largest = (self.fc2(self.fc1(pooled).relu()) for pooled in
                            (x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)))
        return x * (average + largest).sigmoid()


class _SpatialAttn(nn.Module):
    """As timm.layers.cbam.SpatialAttn is written."""

    def __init__(self, kernel: int = 7):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * self.norm(self.conv(pooled)).sigmoid()


class _Foreign(nn.Module):
    """A module that returns features alone in the place of a mechanism that returns its weights as well."""

    placement, extra_inputs = 'residual', ()

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, C, H, W) -> features, and weights that say nothing."""
        B, C, H, W = x.shape
        return self.module(x), {'channel': x.new_ones(B, C), 'spatial': x.new_ones(B, 1, H, W)}


def attention_of_timm() -> tuple[Callable[[int], nn.Module], Callable[[], nn.Module], str]:
    """Channel attention for so many channels, spatial attention, and a note where timm is not there."""
    try:
        cbam = importlib.import_module('timm.layers.cbam')
    except ImportError as error:
        return _ChannelAttn, _SpatialAttn, f'CBAM written as timm writes it, for timm cannot be imported: {error}'
    return (lambda channels: cbam.ChannelAttn(channels, rd_ratio=1 / REDUCTION)), cbam.SpatialAttn, ''


class UserBackend(TorchBackend):
    """The network in eager float32, contiguous, with the attention of timm where it is CBAM."""

    def __init__(self, config: NodeConfig):
        super().__init__(config)
        channel, spatial, self.note = attention_of_timm()
        network: nn.Module = self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for parent in list(network.modules()):
            for name, child in list(parent.named_children()):
                made: nn.Module | None = None
                if isinstance(child, CBAM):
                    made = nn.Sequential(channel(child.channels), spatial())
                elif isinstance(child, ChannelAttention) and not child.extra_inputs:
                    made = channel(child.channels)
                elif isinstance(child, SpatialAttention):
                    made = spatial()
                if made is not None and not isinstance(parent, CBAM):
                    setattr(parent, name, _Foreign(made.eval().to(self.device)))

    @torch.inference_mode()
    def infer(self, lidar: Tensor, map_image: Tensor, history: History | None = None,
              prior: Tensor | None = None) -> NetworkOutput:
        """See `Backend.infer`."""
        known = (prior,) if self.model.carries_map else ()
        output: NetworkOutput = self.network(lidar, map_image, history, *known)
        return output
