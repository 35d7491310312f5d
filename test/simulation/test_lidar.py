# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The LiDAR simulator against scenes whose answer is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from attention_fusion_ros.simulation.sensors import raycast
from attention_fusion_ros.simulation.sensors.lidar import (
    PRESETS,
    SHARES,
    LidarModel,
    hdl_64e,
    random_lidar,
    solid_state,
    vlp_16,
)
from attention_fusion_ros.simulation.sensors.raster import NOTHING_M, Label, rasterise
from attention_fusion_ros.simulation.sensors.scan import scan, scan_pair
from attention_fusion_ros.simulation.world.drawing import vehicle_corners
from attention_fusion_ros.simulation.world.world import Bush, Post, Road, Terrain, Vehicle, Wall, World

FLAT = Terrain(kerb=0.0, roughness=0.0)
EVERYWHERE = (Road(np.array([[-90.0, 0.0], [90.0, 0.0]]), 200.0),)
PERFECT = dict(range_noise=0.0, beam_bias=0.0, beam_angle_error=0.0, dropout=0.0, patch_dropout=0.0, stray=0.0,
               reach=1e4)


def ideal(preset=hdl_64e, **changes) -> LidarModel:
    return preset(**{**PERFECT, **changes})


def flat_world(**content) -> World:
    return World('test', EVERYWHERE, FLAT, **content)


def street(seed: int = 3) -> World:
    """A street with everything in it."""
    rng = np.random.default_rng(seed)
    places = np.arange(-50.0, 50.0, 9.0)
    cars = tuple(Vehicle(x, s * 2.8, rng.normal(0, 0.1), 4.4, 1.8, 1.5, 'car') for x in places[::2] for s in (-1, 1))
    return World(
        'test', (Road(np.array([[-80.0, 0.0], [0.0, 0.0], [80.0, 0.0]]), 8.0),
                 Road(np.array([[0.0, 0.0], [10.0, 70.0]]), 6.0)),
        Terrain(slope_x=0.02, undulation=0.1, crown=0.06), seed=seed,
        walls=tuple(Wall(np.array([[x, -9.0], [x + 8, -9.2]]), 6.0, 0.4, 'facade') for x in places)
        + (Wall(np.array([[-40.0, 8.0], [-12.0, 8.0]]), 1.6, 0.3, 'hedge', 0.3),
           Wall(np.array([[15.0, 8.0], [45.0, 8.0]]), 1.8, 0.1, 'fence', 0.6)),
        posts=tuple(Post(x, -5.5, 0.15, 5.0, 'tree', 2.0, 2.2, 5.5) for x in places)
        + tuple(Post(x + 3, 5.5, 0.06, 6.0, 'lamp') for x in places),
        bushes=tuple(Bush(x, 7.0, 0.8, 1.1) for x in (-20.0, 20.0)),
        vehicles=(*cars, Vehicle(14.0, -1.7, 0.0, 9.0, 2.5, 3.2, 'truck'),
                  Vehicle(6.0, 4.6, 0.0, 0.5, 0.5, 1.75, 'pedestrian')))


def in_base(cloud, T: np.ndarray) -> np.ndarray:
    return cloud.xyz @ T[:3, :3].T + T[:3, 3]


def rows(cloud) -> np.ndarray:
    """Points as opaque values, to compare bits."""
    packed = np.ascontiguousarray(np.column_stack([cloud.xyz, cloud.intensity]))
    return packed.view(np.dtype((np.void, packed.dtype.itemsize * 4)))[:, 0]


@pytest.mark.parametrize('name, beams, low, high', [
    ('vlp_16', 16, -15, 15), ('hdl_32e', 32, -30.67, 10.67), ('hdl_64e', 64, -24.33, 2), ('vlp_32c_pair', 64, -25, 25),
    ('os1_128', 128, -22.5, 22.5)])
def test_beam_tables_are_those_of_the_manuals(name, beams, low, high):
    degrees = np.rad2deg(PRESETS[name]().elevations)
    assert len(degrees) == beams
    assert degrees.min() == pytest.approx(low) and degrees.max() == pytest.approx(high)
    assert len(np.unique(np.round(degrees, 6))) >= beams - 20  # a pair shares its level beams


def test_spacings_of_hdl_64e_and_vlp_32c():
    spacing = np.diff(np.sort(np.rad2deg(hdl_64e().elevations)))
    assert spacing[:31] == pytest.approx(0.5, abs=1e-6) and spacing[32:] == pytest.approx(1 / 3, abs=1e-2)
    single = np.sort(np.rad2deg(PRESETS['vlp_32c_pair']().elevations[:32]))
    assert np.diff(single).min() == pytest.approx(1 / 3, abs=1e-2) and np.sum((single >= -4) & (single <= 1.67)) == 18


@pytest.mark.parametrize('preset', [p for p in PRESETS.values() if not p().jitter and p().pattern == 'rows'
                                    and p().fov == (-math.pi, math.pi)])
def test_rings_on_a_plane_lie_where_trigonometry_puts_them(preset):
    lidar = ideal(preset, own_body=None, frame_height=None)
    cloud, T = scan(flat_world(), (3.3, -1.2, 0.7), lidar, 1)
    radius = np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1])
    elevation = np.arctan2(cloud.xyz[:, 2], radius)
    expected = [lidar.height / math.tan(-e) for e in lidar.elevations if math.tan(-e) > lidar.height / 55.0]
    expected = np.array([r for r in expected if math.hypot(r, lidar.height) > lidar.min_range])
    near = radius < 55.0
    assert np.abs(cloud.xyz[:, 2] + lidar.height).max() < 1e-4
    assert np.abs(radius - lidar.height / np.tan(-elevation))[near].max() < 0.01
    found = np.abs(radius[near][:, None] - expected).min(axis=0)
    assert found.max() < 0.01  # every beam that can reach the ground does
    assert np.sum(near) >= 0.995 * len(expected) * lidar.steps
    assert T[2, 3] == lidar.height


def test_on_a_slope_the_vehicle_leans_with_the_ground():
    world = replace(flat_world(), terrain=replace(FLAT, slope_x=0.05, slope_y=-0.03))
    lidar = ideal(height=2.0)
    cloud, _ = scan(world, (5.0, 5.0, 1.0), lidar, 1)
    near = np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1]) < 20
    assert np.abs(cloud.xyz[near, 2] + 2.0).max() < 0.03


@pytest.mark.parametrize('error, axis, sign', [('pitch_error', 0, 1), ('roll_error', 1, -1)])
def test_mounting_errors_tilt_the_ground_and_are_not_reported(error, axis, sign):
    angle = math.radians(2.0)
    cloud, T = scan(flat_world(), (0.0, 0.0, 0.3), ideal(**{error: angle}), 1)
    assert np.array_equal(T[:3, :3], np.eye(3))
    near = np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1]) < 20
    design = np.column_stack([cloud.xyz[near, :2], np.ones(near.sum())])
    slope = np.linalg.lstsq(design, cloud.xyz[near, 2], rcond=None)[0]
    assert slope[axis] == pytest.approx(sign * math.tan(angle), abs=1e-3)
    assert slope[1 - axis] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize('angle', [0.0, 0.3, 0.8])
def test_wall_is_hit_at_its_distance_by_every_beam_that_meets_it(angle):
    distance, thickness, height = 15.0, 0.4, 3.0
    along, normal = np.array([-math.sin(angle), math.cos(angle)]), np.array([math.cos(angle), math.sin(angle)])
    middle = distance * normal
    wall = Wall(np.array([middle - 25 * along, middle + 25 * along]), height, thickness, 'rail')
    lidar = ideal()
    cloud, T = scan(flat_world(walls=(wall,)), (0.0, 0.0, 0.0), lidar, 1)
    p = in_base(cloud, T)
    towards, beside = p[:, :2] @ normal, p[:, :2] @ along
    face = (np.abs(beside) < 20) & (p[:, 2] > 0.3) & (towards > 0)
    assert towards[face].mean() == pytest.approx(distance - thickness / 2, abs=0.06)
    assert np.ptp(towards[face]) < 0.35  # a staircase of 0.2 m cells
    steep = -np.tan(lidar.elevations) * (distance - thickness / 2)
    meeting = np.sum((lidar.height - steep > 0.3) & (lidar.height - steep < height - 0.1))
    steps = lidar.steps * 2 * math.atan2(5.0, distance) / (2 * math.pi)
    window = face & (np.abs(np.arctan2(beside, towards)) < math.atan2(5.0, distance)) & (p[:, 2] < height)
    assert window.sum() == pytest.approx(meeting * steps, rel=0.08)
    behind = (np.abs(beside) < 15) & (towards > distance + 0.4) & (p[:, 2] < 0.5)
    assert not behind.any()


@pytest.mark.slow
def test_first_hits_agree_with_marching_in_small_steps():
    world = street()
    raster = rasterise(world, (0.0, -1.75, 0.0))
    raster = replace(raster, porosity=np.zeros_like(raster.porosity), porous=np.full_like(raster.porous, NOTHING_M),
                     crown_top=np.full_like(raster.crown_top, NOTHING_M))
    rng = np.random.default_rng(0)
    scene, shape = raycast.Scene(raster), (256, 16)
    azimuth = torch.arange(256)[:, None] * (2 * math.pi / 256) + torch.zeros(shape)
    slope = torch.as_tensor(np.tan(rng.uniform(-0.4, 0.05, shape)), dtype=torch.float32)
    draws = raycast.RandomDraws(torch.zeros(256), torch.zeros(shape), torch.zeros(shape))
    x, y, z = 0.0, -1.75, 2.0 + float(raster.ground[300, 300])
    rays = raycast.Rays.towards((x, y, z), torch.cos(azimuth), torch.sin(azimuth), slope)
    hits = raycast.cast(scene, rays, draws, 50)
    height = np.maximum(raster.solid, raster.vehicle)
    for r in (np.arange(0.6, 50, 0.01),):
        px = x + np.cos(azimuth.numpy())[..., None] * r
        py = y + np.sin(azimuth.numpy())[..., None] * r
        pixel = np.rint(raster.frame.pixels(np.stack([px, py], axis=-1))).astype(int)
        below = height[pixel[..., 1], pixel[..., 0]] >= z + slope.numpy()[..., None] * r
        marched = np.where(below.any(axis=-1), r[below.argmax(axis=-1)], np.inf)
    got = hits.distance.numpy()
    both = np.isfinite(marched) & np.isfinite(got)
    assert np.mean(np.isfinite(marched) == np.isfinite(got)) > 0.995
    error = np.abs(got[both] - marched[both])
    assert np.median(error) < 0.05 and np.mean(error < 0.3) > 0.97


def test_vehicle_casts_a_shadow_and_hides_the_ground_beneath_it():
    van = Vehicle(8.0, 0.0, 0.0, 4.0, 2.0, 2.6, 'van')
    lidar = ideal(height=1.8)
    full, bare, T = scan_pair(flat_world(vehicles=(van,)), (0.0, 0.0, 0.0), lidar, 5)
    with_van, without = in_base(full, T), in_base(bare, T)

    def ground_in(p, x0, x1, half):
        return np.sum((p[:, 0] > x0) & (p[:, 0] < x1) & (np.abs(p[:, 1]) < half) & (p[:, 2] < 0.05))
    assert ground_in(without, 6.3, 9.7, 0.8) > 500 and ground_in(with_van, 6.3, 9.7, 0.8) == 0
    assert ground_in(without, 11, 50, 0.8) > 500 and ground_in(with_van, 11, 50, 0.8) == 0
    assert ground_in(with_van, 1.0, 5.5, 0.8) == ground_in(without, 1.0, 5.5, 0.8)
    back = with_van[(np.abs(with_van[:, 1]) < 0.7) & (with_van[:, 2] > 0.3) & (with_van[:, 0] < 7)]
    assert len(back) > 200 and np.abs(back[:, 0] - 6.0).max() < 0.15


def test_pair_differs_only_in_rays_that_cross_vehicles():
    world, lidar = street(), hdl_64e(steps=1024, pitch_error=0.02, roll_error=-0.03)
    pose = (0.0, -1.75, 0.1)
    full, bare, T = scan_pair(world, pose, lidar, 11)
    kept = np.isin(rows(bare), rows(full))
    assert 0.3 < kept.mean() < 0.95
    c, s = math.cos(pose[2]), math.sin(pose[2])
    lost = (in_base(bare, T)[~kept, :2] @ np.array([[c, s], [-s, c]])) + pose[:2]
    origin = np.array(pose[:2])
    blocked = np.zeros(len(lost), bool)
    for v in world.vehicles:
        grown = vehicle_corners(replace(v, length=v.length + 1.0, width=v.width + 1.0))
        blocked |= _crosses(origin, lost, grown)
    assert blocked.all()
    alone, _ = scan(world, pose, lidar, 11)
    assert np.array_equal(alone.xyz, full.xyz) and np.array_equal(alone.intensity, full.intensity)
    alone, _ = scan(world.without_vehicles(), pose, lidar, 11)
    assert np.array_equal(alone.xyz, bare.xyz)


def _crosses(origin: np.ndarray, ends: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) bool: does the segment from origin to each end meet the convex polygon? Clipping (Cyrus & Beck 1978)."""
    d, enter, leave = ends - origin, np.zeros(len(ends)), np.ones(len(ends))
    for a, b in zip(corners, np.roll(corners, -1, axis=0)):
        inward = np.array([a[1] - b[1], b[0] - a[0]])
        speed, offset = d @ inward, float((origin - a) @ inward)
        with np.errstate(divide='ignore', invalid='ignore'):
            t = -offset / speed
        enter = np.where(speed > 0, np.maximum(enter, t), enter)
        leave = np.where(speed < 0, np.minimum(leave, t), leave)
        leave = np.where((speed == 0) & (offset < 0), -1.0, leave)
    return enter <= leave


def test_equal_seeds_give_equal_sweeps_and_others_do_not():
    world, lidar = street(), vlp_16(steps=600)
    first, _ = scan(world, (0.0, -1.75, 0.0), lidar, 7, stamp_ns=5)
    again, _ = scan(world, (0.0, -1.75, 0.0), lidar, 7)
    other, _ = scan(world, (0.0, -1.75, 0.0), lidar, 8)
    assert np.array_equal(first.xyz, again.xyz) and np.array_equal(first.intensity, again.intensity)
    assert not np.array_equal(first.xyz[:100], other.xyz[:100])
    drawn = [scan(world, (0.0, -1.75, 0.0), lidar, np.random.default_rng(1))[0].xyz for _ in range(2)]
    assert np.array_equal(*drawn)
    assert first.stamp_ns == 5 and first.xyz.dtype == np.float32 and first.xyz.shape == (len(first.intensity), 3)
    assert np.isfinite(first.xyz).all() and np.isfinite(first.intensity).all()


def test_ground_stays_where_it_is_while_the_vehicle_moves():
    world = street()
    here, there = rasterise(world, (0.0, 0.0, 0.0), 30), rasterise(world, (4.0, -6.0, 1.0), 30)
    dx, dy = np.subtract(there.frame.offset, here.frame.offset)
    for layer in ('solid', 'vehicle', 'porosity', 'label'):
        a, b = getattr(here, layer)[40:260, 40:260], getattr(there, layer)[40 - dy:260 - dy, 40 - dx:260 - dx]
        assert np.mean(a == b) > 0.99, layer


def test_share_of_rays_through_a_fence_is_its_porosity():
    fence = Wall(np.array([[10.0, -20.0], [10.0, 20.0]]), 4.0, 0.1, 'fence', 0.6)
    behind = Wall(np.array([[14.0, -25.0], [14.0, 25.0]]), 4.0, 0.4, 'rail')
    shares = []
    for seed in range(4):
        cloud, T = scan(flat_world(walls=(fence, behind)), (0.0, 0.0, 0.0), ideal(steps=1024), seed)
        p = in_base(cloud, T)
        level = cloud.xyz[:, 2] > -0.07 * np.hypot(cloud.xyz[:, 0], cloud.xyz[:, 1])  # meets the wall, not the ground
        p = p[(np.abs(np.arctan2(p[:, 1], p[:, 0])) < 0.6) & level]
        shares.append(np.mean(p[:, 0] > 12))
    assert np.mean(shares) == pytest.approx(0.6, abs=0.05)


@pytest.mark.slow
def test_thin_pole_is_hit_as_often_as_it_is_wide():
    radius, distance, counts = 0.06, 8.0, []
    lidar = ideal(steps=1024)
    for seed in range(40):
        bearing = seed * 0.157 + 0.01
        pole = Post(distance * math.cos(bearing), distance * math.sin(bearing), radius, 5.0, 'pole')
        cloud, T = scan(flat_world(posts=(pole,)), (0.0, 0.0, 0.0), lidar, seed)
        counts.append(np.sum(in_base(cloud, T)[:, 2] > 0.3))
    beams = np.sum(np.tan(lidar.elevations) * distance + lidar.height > 0.3)
    expected = beams * lidar.steps * 2 * radius / distance / (2 * math.pi)
    assert np.mean(counts) == pytest.approx(expected, rel=0.25)


def test_crown_returns_from_its_leaves_and_lets_the_ground_below_be_seen():
    tree = Post(9.0, 0.0, 0.2, 4.0, 'tree', 2.5, 2.5, 6.0)
    cloud, T = scan(flat_world(posts=(tree,)), (0.0, 0.0, 0.0), ideal(PRESETS['os1_128']), 1)
    p = in_base(cloud, T)
    near = np.hypot(p[:, 0] - 9.0, p[:, 1]) < 2.8
    leaves = p[near & (np.hypot(p[:, 0] - 9.0, p[:, 1]) > 0.5) & (p[:, 2] > 0.5)]
    assert len(leaves) > 200 and leaves[:, 2].min() > 2.2 and leaves[:, 2].max() < 6.3
    assert np.std(leaves[:, 0]) > 0.3  # not a shell
    assert np.sum(near & (p[:, 2] < 0.05)) > 50


def test_field_of_view_blind_sector_ranges_and_reported_frame():
    world = street()
    cloud, _ = scan(world, (0.0, -1.75, 0.0), solid_state(), 1)
    assert np.abs(np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0])).max() < math.pi / 3 + 0.02
    blind = hdl_64e(steps=900, blind=((2.5, 3.5),), min_range=4.0, max_range=30.0)
    cloud, T = scan(world, (0.0, -1.75, 0.0), blind, 1)
    azimuth = np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0]) % (2 * math.pi)
    distance = np.linalg.norm(cloud.xyz, axis=1)
    assert not ((azimuth > 2.51) & (azimuth < 3.49)).any() and ((azimuth > 2.3) & (azimuth < 2.5)).any()
    assert distance.min() > 3.999 and distance.max() < 30.001
    low, T_low = scan(world, (0.0, -1.75, 0.0), replace(blind, frame_height=0.33), 1)
    assert T_low[2, 3] == 0.33 and np.allclose(in_base(low, T_low), in_base(cloud, T), atol=1e-4)


def test_yaw_of_the_mounting_is_reported_and_undone_by_the_transform():
    world = flat_world(walls=(Wall(np.array([[12.0, -5.0], [12.0, 5.0]]), 3.0, 0.4, 'rail'),))
    cloud, T = scan(world, (0.0, 0.0, 0.0), ideal(yaw=math.pi / 2), 1)
    high = in_base(cloud, T)
    high = high[high[:, 2] > 0.5]
    assert len(high) > 500 and high[:, 0].min() > 11.4 and np.abs(high[:, 1]).max() < 5.4


def test_dropout_noise_and_beam_bias_have_the_stated_size():
    clean, _ = scan(flat_world(), (0.0, 0.0, 0.0), ideal(), 1)
    noisy, _ = scan(flat_world(), (0.0, 0.0, 0.0), ideal(range_noise=0.05), 1)
    lossy, _ = scan(flat_world(), (0.0, 0.0, 0.0), ideal(dropout=0.2), 1)
    assert len(lossy.xyz) == pytest.approx(0.8 * len(clean.xyz), rel=0.01)
    assert len(noisy.xyz) == len(clean.xyz)
    error = np.linalg.norm(noisy.xyz, axis=1) - np.linalg.norm(clean.xyz, axis=1)
    assert error.std() == pytest.approx(0.05, rel=0.03) and abs(error.mean()) < 0.002


def test_random_lidars_stay_within_what_is_promised():
    names = set()
    for seed in range(200):
        lidar = random_lidar(np.random.default_rng(seed), rays=65536)
        names.add(lidar.name)
        assert 1.2 <= lidar.height <= 2.2 and len(lidar.elevations) * lidar.steps <= max(65536, 360 * 128)
        assert abs(lidar.pitch_error) <= math.radians(2.51) and abs(lidar.roll_error) <= math.radians(2.51)
        assert lidar.own_body is None or lidar.own_body[3] < lidar.height
    assert names == {*SHARES}
    a, b = (random_lidar(np.random.default_rng(3)) for _ in range(2))
    assert a == b


def test_chunks_of_columns_do_not_change_a_bit(monkeypatch):
    world, lidar = street(), hdl_64e(steps=500)
    small, _ = scan(world, (0.0, -1.75, 0.0), lidar, 2)
    monkeypatch.setattr(raycast, 'CPU_CHUNK', 10_000)  # as on CUDA: all at once
    whole, _ = scan(world, (0.0, -1.75, 0.0), lidar, 2)
    assert np.array_equal(small.xyz, whole.xyz) and np.array_equal(small.intensity, whole.intensity)


@pytest.mark.gpu
def test_cuda_gives_the_sweep_of_the_cpu():
    world, lidar = street(), hdl_64e(steps=1024)
    cpu, _ = scan(world, (0.0, -1.75, 0.0), lidar, 2)
    gpu, _ = scan(world, (0.0, -1.75, 0.0), lidar, 2, device='cuda')
    assert len(gpu.xyz) == pytest.approx(len(cpu.xyz), rel=2e-3)
    common = min(len(cpu.xyz), 2000)  # rounding moves single rays across an edge; the first columns match in order
    assert np.median(np.abs(cpu.xyz[:common] - gpu.xyz[:common])) < 1e-3


def test_raster_layers_show_what_the_world_holds():
    raster = rasterise(street(), (0.0, 0.0, 0.0))
    assert raster.ground.shape == (600, 600) and raster.ground.dtype == np.float32
    present = set(np.unique(raster.label).tolist())
    assert {int(x) for x in (Label.ROAD, Label.SIDEWALK, Label.VERGE, Label.FACADE, Label.HEDGE, Label.FENCE,
                             Label.POLE, Label.TREE, Label.BUSH)} <= present
    assert Label.PERSON in raster.vehicle_label
    assert np.all(raster.solid >= raster.ground) and np.all(np.abs(raster.porosity) < 1)
    leaves = raster.crown_top > NOTHING_M
    assert leaves.any() and np.all(raster.crown_top[leaves] >= raster.crown_bottom[leaves])
    kerb = np.median(raster.ground[322:324, 100:240] - raster.ground[316:318, 100:240])
    assert kerb == pytest.approx(0.12, abs=0.03)  # the crown takes a little of it


def test_vehicles_that_are_all_out_of_sight_change_nothing():
    world = World('straight', (Road(np.array([[-80.0, 0.0], [80.0, 0.0]]), 7.0),), Terrain())
    far = replace(world, vehicles=(Vehicle(500.0, 0.0, 0.0, 4.0, 1.8, 1.5, 'car'),))
    clouds = [scan(w, (0.0, 0.0, 0.0), vlp_16(), 1)[0] for w in (world, far)]
    assert np.array_equal(clouds[0].xyz, clouds[1].xyz)
