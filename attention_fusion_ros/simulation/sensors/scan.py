# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""World + pose + sensor -> the point cloud that the sensor would send. The same scene with and without vehicles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.simulation.sensors import raycast
from attention_fusion_ros.simulation.sensors.faults import NONE
from attention_fusion_ros.simulation.sensors.lidar import LidarModel
from attention_fusion_ros.simulation.sensors.raster import REFLECTIVITY, Label, Raster, rasterise
from attention_fusion_ros.simulation.sensors.raycast import NO_HIT, VEHICLE, Hits, RandomDraws, Rays, Scene
from attention_fusion_ros.simulation.sensors.reception import received
from attention_fusion_ros.simulation.world.world import Pose, World

FRAME_ID = 'lidar'
Seed = np.random.Generator | int
Device = torch.device | str
FARTHEST_M = 60.0  # rays end where the raster does
SWING_POINTS, PETAL_POINTS = 43.7, 3917.3  # points of a rosette in one swing, and in one turn of its petals
MAX_COLUMNS = 1024  # azimuth columns of the ray caster: 0.37 m at the farthest


@dataclass(frozen=True)
class LidarSensor:
    """A LiDAR on the vehicle: `scan` as a `Sensor`."""

    model: LidarModel
    device: Device = 'cpu'

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> PointCloud:
        """One sweep, in the sensor frame."""
        return scan(world, pose, self.model, rng, stamp_ns, self.device)[0]


def scan(world: World, pose: Pose, lidar: LidarModel, rng: Seed, stamp_ns: int = 0,
         device: Device = 'cpu') -> tuple[PointCloud, np.ndarray]:
    """One sweep from `pose` (x, y, yaw of base_link in the world).

    rng: numpy Generator or integer seed. Equal world, pose, sensor and seed give equal points.
    Returns the cloud in the sensor frame and the nominal (4, 4) T_base_sensor.
    """
    return _scan(rasterise(world, pose), world, pose, lidar, _seed(rng), stamp_ns, device, (True,))[0], \
        lidar.T_base_sensor


def scan_pair(world: World, pose: Pose, lidar: LidarModel, rng: Seed, stamp_ns: int = 0,
              device: Device = 'cpu') -> tuple[PointCloud, PointCloud, np.ndarray]:
    """(sweep with vehicles, sweep without them, T_base_sensor). Rays that meet no vehicle return the same bits."""
    both = _scan(rasterise(world, pose), world, pose, lidar, _seed(rng), stamp_ns, device, (True, False))
    return both[0], both[1], lidar.T_base_sensor


def scan_raster(raster: Raster, world: World, pose: Pose, lidar: LidarModel, rng: Seed,
                stamp_ns: int = 0, device: Device = 'cpu') -> PointCloud:
    """As `scan`, of a raster made before; the cloud in the sensor frame."""
    return _scan(raster, world, pose, lidar, _seed(rng), stamp_ns, device, (True,))[0]


def _seed(rng: Seed) -> int:
    return int(rng.integers(1 << 62)) if isinstance(rng, np.random.Generator) else int(rng)


def base_pose(raster: Raster, pose: Pose) -> np.ndarray:
    """(4, 4) T_world_base: the vehicle stands on the ground under its wheels and leans with it."""
    x, y, yaw = pose
    c, s = math.cos(yaw), math.sin(yaw)

    def height(ahead: float, left: float) -> float:
        """Bilinear mean over a patch as wide as a tyre's, so that the lean does not jump from cell to cell."""
        column, row = raster.frame.pixels(np.array([x + c * ahead - s * left, y + s * ahead + c * left]))
        j, i = math.floor(column), math.floor(row)
        patch = raster.ground[i - 1:i + 3, j - 1:j + 3]
        u, v = column - j, row - i
        return float(np.array([1 - v, 1, 1, v]) @ patch @ np.array([1 - u, 1, 1, u])) / 9
    front, back = (height(1.4, 0.8) + height(1.4, -0.8)) / 2, (height(-1.4, 0.8) + height(-1.4, -0.8)) / 2
    left, right = (height(1.4, 0.8) + height(-1.4, 0.8)) / 2, (height(1.4, -0.8) + height(-1.4, -0.8)) / 2
    x_axis = np.array([c * 2.8, s * 2.8, front - back])
    y_axis = np.array([-s * 1.6, c * 1.6, left - right])
    T = np.eye(4)
    T[:3, 0] = x_axis / np.linalg.norm(x_axis)
    z_axis = np.cross(x_axis, y_axis)
    T[:3, 2] = z_axis / np.linalg.norm(z_axis)
    T[:3, 1] = np.cross(T[:3, 2], T[:3, 0])
    T[:3, 3] = x, y, (front + back) / 2
    return T


def _mounting(lidar: LidarModel) -> np.ndarray:
    """(4, 4) optical centre -> base_link as it really is: with the errors that nobody knows."""
    cp, sp, cr, sr = (f(a) for a in (lidar.pitch_error, lidar.roll_error) for f in (math.cos, math.sin))
    T = lidar.T_base_sensor.copy()
    T[2, 3] = lidar.height + lidar.height_error
    T[:3, :3] = T[:3, :3] @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]) @ np.array([[1, 0, 0], [0, cr, -sr],
                                                                                          [0, sr, cr]])
    return T


class _Noise:
    """Every random number of a sweep, drawn in one order on the CPU: independent of the scene and of the device."""

    def __init__(self, seed: int, shape: tuple[int, int], columns: int, jitter: bool, device: Device):
        generator = torch.Generator().manual_seed(seed % (1 << 63))

        def uniform(*size: int) -> Tensor:
            return torch.rand(*size, generator=generator).to(device)

        self.draws = RandomDraws(uniform(columns), uniform(*shape), uniform(*shape))
        self.loss, self.brightness = uniform(*shape), uniform(*shape)
        self.range = torch.randn(shape, generator=generator).to(device)
        self.offset = float(torch.rand((), generator=generator))
        self.salt = int(torch.randint(1 << 20, (), generator=generator))
        self.jitter = torch.randn(2, *shape, generator=generator).to(device) if jitter else None


def _angles(lidar: LidarModel, noise: _Noise, device: Device) -> tuple[Tensor, Tensor, Tensor]:
    """Azimuth, elevation as the driver believes, elevation as built; they broadcast to (A, B). Radians."""
    first, last = lidar.fov
    count = noise.loss.shape[0]
    azimuth = first + (torch.arange(count, device=device, dtype=torch.float32)[:, None] + noise.offset) \
        * ((last - first) / count)
    believed = torch.tensor(lidar.elevations, dtype=torch.float32, device=device)[None]
    if lidar.pattern == 'rosette':
        azimuth, believed = _rosette(lidar, noise, device)
    if noise.jitter is not None:
        azimuth, believed = azimuth + lidar.jitter * noise.jitter[0], believed + lidar.jitter * noise.jitter[1]
    error = np.random.default_rng([lidar.seed, 1]).normal(0, lidar.beam_angle_error, len(lidar.elevations))
    return azimuth, believed, believed + torch.as_tensor(error, dtype=torch.float32, device=device)


def _rosette(lidar: LidarModel, noise: _Noise, device: Device) -> tuple[Tensor, Tensor]:
    """Azimuth and elevation (A, B) of one beam that swings on petals through the view, elsewhere in every sweep."""
    count, beams = noise.loss.shape
    turns = torch.arange(count * beams, device=device, dtype=torch.float64).view(count, beams)
    swing = torch.cos(2 * math.pi * (turns / SWING_POINTS + noise.offset)).float()
    angle = (2 * math.pi * (turns / PETAL_POINTS + 7 * noise.offset)).float()
    low, high = min(lidar.elevations), max(lidar.elevations)
    first, last = lidar.fov
    return ((first + last) / 2 + (last - first) / 2 * swing * torch.cos(angle),
            (low + high) / 2 + (high - low) / 2 * swing * torch.sin(angle))


def _turn(rotation: np.ndarray, azimuth: Tensor, elevation: Tensor) -> list[Tensor]:
    """x, y, z (A, B) of rotation @ (cos az cos el, sin az cos el, sin el), by outer products."""
    x, y, flat, z = torch.cos(azimuth), torch.sin(azimuth), torch.cos(elevation), torch.sin(elevation)
    return [(x * float(r[0]) + y * float(r[1])) * flat + z * float(r[2]) for r in rotation]


def _scan(raster: Raster, world: World, pose: Pose, lidar: LidarModel, seed: int, stamp_ns: int, device: Device,
          variants: tuple[bool, ...]) -> list[PointCloud]:
    first, last = lidar.fov
    count = max(int(round(lidar.steps * (last - first) / (2 * math.pi))), 1)
    noise = _Noise(seed, (count, len(lidar.elevations)), min(lidar.steps, MAX_COLUMNS), lidar.jitter > 0, device)
    azimuth, believed, built = _angles(lidar, noise, device)
    T_base_optical = _mounting(lidar)
    T_world_optical = base_pose(raster, pose) @ T_base_optical
    rays = Rays.towards(T_world_optical[:3, 3], *_turn(T_world_optical[:3, :3], azimuth, built))
    own = None if lidar.own_body is None else _own_body(lidar, lidar.own_body, T_base_optical, azimuth, built)
    x, y, z = (v.expand(noise.loss.shape).reshape(-1) for v in _turn(np.eye(3), azimuth, believed))
    shift = 0.0 if lidar.frame_height is None else lidar.height - lidar.frame_height
    scene = Scene(raster, device)
    clouds = []
    for vehicles in variants:
        hits = raycast.cast(scene, rays, noise.draws, min(lidar.max_range, FARTHEST_M), vehicles)
        labels = raycast.labels(scene, hits)
        distance, kept = _measure(scene, lidar, noise, hits, labels, rays)
        intensity = _intensity(lidar, noise, labels)
        if own is not None:
            nearer = own < distance
            distance = torch.where(nearer, own, distance)
            kept = torch.where(nearer, (own > 0.3) & lidar.own_body_kept, kept)
        for start, end in lidar.blind:
            kept = kept & (((azimuth - start) % (2 * math.pi)) > (end - start))
        empty = 0
        if lidar.faults is not NONE:
            arrived = received(lidar.faults, azimuth, noise.loss, seed)
            empty = int(lidar.faults.no_return * float((arrived & ~kept).sum()))
            kept = kept & arrived
        chosen = torch.nonzero(kept.view(-1))[:, 0]
        slant = distance.view(-1).index_select(0, chosen)
        xyz = torch.stack([v.index_select(0, chosen) * slant for v in (x, y, z)], dim=1)
        xyz[:, 2] += shift
        brightness = intensity.view(-1).index_select(0, chosen)
        if empty:  # as some drivers send them
            xyz, brightness = (torch.cat([v, v.new_zeros(empty, *v.shape[1:])]) for v in (xyz, brightness))
        clouds.append(PointCloud(stamp_ns, FRAME_ID, xyz.cpu().numpy(), brightness.cpu().numpy()))
    return clouds


def _measure(scene: Scene, lidar: LidarModel, noise: _Noise, hits: Hits, labels: Tensor,
             rays: Rays) -> tuple[Tensor, Tensor]:
    """(slant range (A, B) with noise, whether there was a return)."""
    distance = hits.distance.clamp(max=1e3)
    leafy = (labels == int(Label.BUSH)) | (labels == int(Label.HEDGE))
    distance = distance + leafy * (0.5 * noise.draws.depth)
    # Patches of glass on facades and vehicles return nothing, or what is behind them; facades have relief.
    x, y = rays.ux * distance + rays.origin[0], rays.uy * distance + rays.origin[1]
    z = hits.z.clamp(-1e3, 1e3)
    patch = _hash(x * 0.9, y * 0.9, z * 0.8, noise.salt)
    facade = labels == int(Label.FACADE)
    glass = facade & (patch < 0.25)
    relief = 0.3 * _hash(x * 2.3, y * 2.3, z * 1.7, noise.salt) + 0.2 * (patch < 0.25) - 0.7 * (patch > 0.96)
    # The raster's walls are staircases of cells; half a cell of scatter hides the treads.
    built = (labels >= int(Label.FACADE)) & (labels <= int(Label.HEDGE))
    distance = distance + facade * relief + built * (0.1 * noise.brightness)
    distance = distance + (glass & (noise.loss < 0.4)) * (4.0 * noise.draws.depth)
    distance = distance * (1 + (noise.draws.realisation < lidar.stray) * (noise.brightness * 0.8 - 0.6))
    loss = (labels > int(Label.VERGE)) & (patch < 0.3)
    loss = loss * lidar.patch_dropout + glass * 0.4 + lidar.dropout
    is_vehicle = hits.kind == VEHICLE
    if is_vehicle.any():
        loss = loss + is_vehicle * scene.vehicle_loss.index_select(0, hits.cell.view(-1)).view(distance.shape)
    slant = distance * torch.sqrt(rays.slope * rays.slope + 1)
    # Grazing incidence on the ground: the echo fades with height / distance^3. Asphalt is darker than grass.
    level = (labels <= int(Label.VERGE)) & ~is_vehicle
    reach = lidar.reach * (1 + 0.25 * (labels != int(Label.ROAD)))
    faded = torch.sigmoid((slant - reach) * (1 / (0.16 * lidar.reach))) * level
    kept = (hits.kind != NO_HIT) & (noise.loss >= loss + faded)
    bias = np.random.default_rng([lidar.seed, 2]).normal(0, lidar.beam_bias, len(lidar.elevations))
    slant = slant + lidar.range_noise * noise.range + torch.as_tensor(bias, dtype=torch.float32, device=slant.device)
    return slant, kept & (slant > lidar.min_range) & (slant < lidar.max_range)


def _hash(x: Tensor, y: Tensor, z: Tensor, salt: int) -> Tensor:
    """Repeatable uniform numbers, the same within each unit cube (multiplicative hashing)."""
    h = (torch.floor(x).to(torch.int32) * 73856093) ^ (torch.floor(y).to(torch.int32) * 19349663)
    h = (h ^ (torch.floor(z).to(torch.int32) * 83492791) ^ salt) * 1274126177
    return ((h >> 12) & 0xFFFF) * (1 / 65536)


def _intensity(lidar: LidarModel, noise: _Noise, labels: Tensor) -> Tensor:
    """(A, B) intensity: reflectivity blurred by the gain of each beam, mixed with noise."""
    value = torch.as_tensor(REFLECTIVITY, device=labels.device).index_select(0, labels.view(-1).to(torch.int32))
    gain = np.random.default_rng([lidar.seed, 3]).lognormal(0, 0.15, len(lidar.elevations)) * lidar.intensity_meaning
    value = value.view(labels.shape) * torch.as_tensor(gain, dtype=torch.float32, device=labels.device)
    mixed = value * (0.6 + 0.8 * noise.brightness) + (0.6 * (1 - lidar.intensity_meaning)) * noise.brightness
    return mixed.clamp_(0, 1) * lidar.intensity_scale


def _own_body(lidar: LidarModel, body: tuple[float, float, float, float], T_base_optical: np.ndarray,
              azimuth: Tensor, built: Tensor) -> Tensor:
    """(A, B) slant range at which rays meet the vehicle's own roof, inf where they do not."""
    rear, front, half, roof = body
    x, y, z = _turn(T_base_optical[:3, :3], azimuth, built)
    slant = (roof - lidar.height) / z.clamp(max=-1e-3)
    ahead, left = lidar.x + x * slant, lidar.y + y * slant
    return slant.masked_fill(~((ahead > rear) & (ahead < front) & (left.abs() < half)), math.inf)
