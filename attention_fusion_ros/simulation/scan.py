"""World + pose + sensor -> the point cloud that the sensor would send. The same scene with and without vehicles."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.simulation import raycast
from attention_fusion_ros.simulation.lidar import LidarModel
from attention_fusion_ros.simulation.raster import REFLECTIVITY, Label, Raster, rasterise
from attention_fusion_ros.simulation.raycast import CROWN, NO_HIT, VEHICLE, Hits, Luck, Rays, Scene
from attention_fusion_ros.simulation.world import World

FRAME_ID = 'lidar'
FARTHEST = 60.0  # m, rays end where the raster does


def scan(world: World, pose: tuple[float, float, float], lidar: LidarModel, rng, stamp_ns: int = 0,
         device='cpu') -> tuple[PointCloud, np.ndarray]:
    """One sweep from `pose` (x, y, yaw of base_link in the world).

    rng: numpy Generator or integer seed. Equal world, pose, sensor and seed give equal points.
    Returns the cloud in the sensor frame and the nominal (4, 4) T_base_sensor.
    """
    return _scan(rasterise(world, pose), world, pose, lidar, _seed(rng), stamp_ns, device, (True,))[0], \
        lidar.T_base_sensor


def scan_pair(world: World, pose: tuple[float, float, float], lidar: LidarModel, rng, stamp_ns: int = 0,
              device='cpu') -> tuple[PointCloud, PointCloud, np.ndarray]:
    """(sweep with vehicles, sweep without them, T_base_sensor). Rays that meet no vehicle return the same bits."""
    both = _scan(rasterise(world, pose), world, pose, lidar, _seed(rng), stamp_ns, device, (True, False))
    return both[0], both[1], lidar.T_base_sensor


def _seed(rng) -> int:
    return int(rng.integers(1 << 62)) if isinstance(rng, np.random.Generator) else int(rng)


def base_pose(raster: Raster, pose: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) T_world_base: the vehicle stands on the ground under its wheels and leans with it."""
    x, y, yaw = pose
    c, s = math.cos(yaw), math.sin(yaw)

    def height(ahead: float, left: float) -> float:
        column, row = np.rint(raster.frame.pixels((x + c * ahead - s * left, y + s * ahead + c * left))).astype(int)
        return float(raster.ground[row - 1:row + 2, column - 1:column + 2].mean())
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
    T[2, 3] = lidar.height
    T[:3, :3] = T[:3, :3] @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]) @ np.array([[1, 0, 0], [0, cr, -sr],
                                                                                          [0, sr, cr]])
    return T


class _Noise:
    """Every random number of a sweep, drawn in one order on the CPU: independent of the scene and of the device."""

    def __init__(self, seed: int, shape: tuple[int, int], columns: int, device):
        generator = torch.Generator().manual_seed(seed % (1 << 63))

        def uniform(*size):
            return torch.rand(*size, generator=generator).to(device)
        self.luck = Luck(uniform(columns), uniform(shape), uniform(shape))
        self.loss, self.brightness = uniform(shape), uniform(shape)
        self.range = torch.randn(shape, generator=generator).to(device)
        self.jitter = torch.randn(2, *shape, generator=generator).to(device)
        self.offset = float(torch.rand((), generator=generator))
        self.salt = int(torch.randint(1 << 20, (), generator=generator))


def _directions(lidar: LidarModel, noise: _Noise, azimuths: Tensor, device) -> tuple[Tensor, Tensor]:
    """(A, B, 3) directions as built and as the driver believes (sensor frame)."""
    beams = np.random.default_rng([lidar.seed, 1])
    error = torch.as_tensor(beams.normal(0, lidar.beam_angle_error, len(lidar.elevations)), dtype=torch.float32)
    nominal = torch.tensor(lidar.elevations, dtype=torch.float32, device=device)
    azimuth = azimuths[:, None].expand(-1, len(nominal))
    elevation = nominal[None].expand(len(azimuths), -1)
    if lidar.jitter:
        azimuth, elevation = azimuth + lidar.jitter * noise.jitter[0], elevation + lidar.jitter * noise.jitter[1]

    def unit(el):
        return torch.stack([torch.cos(azimuth) * torch.cos(el), torch.sin(azimuth) * torch.cos(el), torch.sin(el)], -1)
    believed = unit(elevation)
    return (unit(elevation + error.to(device)) if lidar.beam_angle_error else believed), believed


def _scan(raster: Raster, world: World, pose, lidar: LidarModel, seed: int, stamp_ns: int, device,
          variants: tuple[bool, ...]) -> list[PointCloud]:
    first, last = lidar.fov
    count = max(int(round(lidar.steps * (last - first) / (2 * math.pi))), 1)
    columns = min(lidar.steps, 1200)
    noise = _Noise(seed, (count, len(lidar.elevations)), columns, device)
    azimuths = first + (torch.arange(count, device=device, dtype=torch.float32) + noise.offset) \
        * ((last - first) / count)
    built, believed = _directions(lidar, noise, azimuths, device)
    T_base_optical = _mounting(lidar)
    T_world_optical = base_pose(raster, pose) @ T_base_optical
    rotation = torch.as_tensor(T_world_optical[:3, :3], dtype=torch.float32, device=device)
    rays = Rays(tuple(float(v) for v in T_world_optical[:3, 3]), built @ rotation.T)
    scene = Scene(raster, device)
    slope, ux, uy = rays.slopes()
    along = torch.sqrt(1 + slope * slope)  # slant range of one metre of horizontal distance
    clouds = []
    for vehicles in variants:
        hits = raycast.cast(scene, rays, noise.luck, min(lidar.max_range, FARTHEST), vehicles)
        distance, kept = _measure(scene, lidar, noise, hits, slope, ux, uy, rays, along)
        intensity = _intensity(scene, lidar, noise, hits, along)
        if lidar.own_body is not None:
            distance, kept = _own_body(lidar, T_base_optical, built, distance, kept)
        kept &= _in_view(lidar, azimuths)[:, None]
        xyz = believed[kept] * distance[kept][:, None]
        if lidar.frame_height is not None:
            xyz = xyz + torch.tensor([0.0, 0.0, lidar.height - lidar.frame_height], device=xyz.device)
        clouds.append(PointCloud(stamp_ns, FRAME_ID, xyz.cpu().numpy().astype(np.float32),
                                 intensity[kept].cpu().numpy().astype(np.float32)))
    return clouds


def _in_view(lidar: LidarModel, azimuths: Tensor) -> Tensor:
    seen = torch.ones_like(azimuths, dtype=torch.bool)
    for start, end in lidar.blind:
        seen &= ((azimuths - start) % (2 * math.pi)) > (end - start)
    return seen


def _measure(scene: Scene, lidar: LidarModel, noise: _Noise, hits: Hits, slope, ux, uy, rays: Rays,
             along: Tensor) -> tuple[Tensor, Tensor]:
    """(slant range (A, B) with noise, whether there was a return)."""
    labels = raycast.labels(scene, hits)
    distance = torch.where(hits.kind == NO_HIT, torch.full_like(hits.distance, 1e3), hits.distance)
    leafy = (labels == int(Label.BUSH)) | (labels == int(Label.HEDGE))
    distance = distance + leafy * noise.luck.depth * 0.5
    # Patches of glass on facades and vehicles return nothing, or what is behind them.
    x, y, z = rays.origin[0] + ux * distance, rays.origin[1] + uy * distance, hits.z
    patch = _hash(torch.floor(x * 0.9), torch.floor(y * 0.9), torch.floor(z * 0.8), noise.salt)
    facade = labels == int(Label.FACADE)
    glass = facade & (patch < 0.25)
    distance = distance + glass * (noise.loss < 0.4) * noise.luck.depth * 4.0
    loss = torch.full_like(distance, lidar.dropout) + lidar.patch_dropout * (patch < 0.3) * (labels > int(Label.VERGE))
    loss = loss + glass * 0.4
    loss = loss + (hits.kind == VEHICLE) * scene.vehicle_loss.index_select(0, hits.cell.view(-1)).view(distance.shape)
    slant = distance * along
    # Grazing incidence on the ground: the echo fades with height / distance^3.
    level = (labels <= int(Label.VERGE)) & (hits.kind != VEHICLE) & (hits.kind != CROWN)
    bright = torch.where(labels == int(Label.ROAD), 1.0, 1.25)
    faded = torch.sigmoid((slant - lidar.reach * bright) / (0.16 * lidar.reach))
    loss = torch.where(level, 1 - (1 - loss) * (1 - faded), loss)
    kept = (hits.kind != NO_HIT) & (noise.loss >= loss)
    bias = np.random.default_rng([lidar.seed, 2]).normal(0, lidar.beam_bias, len(lidar.elevations))
    slant = slant + lidar.range_noise * noise.range + torch.as_tensor(bias, dtype=torch.float32, device=scene.device)
    return slant, kept & (slant > lidar.min_range) & (slant < lidar.max_range)


def _hash(a: Tensor, b: Tensor, c: Tensor, salt: int) -> Tensor:
    """Repeatable uniform numbers from integer-valued coordinates."""
    h = (a.long() * 73856093) ^ (b.long() * 19349663) ^ (c.long() * 83492791) ^ salt
    h = (h ^ (h >> 13)) * 1274126177 & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF).float() / 65536.0


def _intensity(scene: Scene, lidar: LidarModel, noise: _Noise, hits: Hits, along: Tensor) -> Tensor:
    """(A, B) intensity: reflectivity blurred by the gain of each beam, mixed with noise."""
    labels = raycast.labels(scene, hits).long()
    value = torch.as_tensor(REFLECTIVITY, device=scene.device)[labels]
    gain = np.random.default_rng([lidar.seed, 3]).lognormal(0, 0.15, len(lidar.elevations))
    value = value * torch.as_tensor(gain, dtype=torch.float32, device=scene.device) * (0.6 + 0.8 * noise.brightness)
    mixed = lidar.intensity_meaning * value + (1 - lidar.intensity_meaning) * noise.brightness * 0.6
    return torch.clamp(mixed, 0, 1) * lidar.intensity_scale


def _own_body(lidar: LidarModel, T_base_optical: np.ndarray, built: Tensor, distance: Tensor,
              kept: Tensor) -> tuple[Tensor, Tensor]:
    """Rays that meet the vehicle's own roof return from there."""
    rear, front, half, roof = lidar.own_body
    direction = built @ torch.as_tensor(T_base_optical[:3, :3], dtype=torch.float32, device=built.device).T
    slant = (roof - lidar.height) / torch.where(direction[..., 2] < -1e-3, direction[..., 2], -1e-3)
    x, y = lidar.x + direction[..., 0] * slant, lidar.y + direction[..., 1] * slant
    own = (direction[..., 2] < -1e-3) & (x > rear) & (x < front) & (y.abs() < half) & (slant < distance)
    return torch.where(own, slant, distance), torch.where(own, slant > 0.3, kept)
