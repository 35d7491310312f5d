# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What keeps a sensor from seeing, and where sensors that scan no rows look."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from attention_fusion_ros.simulation.sensors.faults import NONE, Faults, random_faults
from attention_fusion_ros.simulation.sensors.lidar import (
    PRESETS,
    SENSOR_SHARES,
    SHARES,
    hdl_64e,
    random_lidar,
    with_faults,
)
from attention_fusion_ros.simulation.sensors.scan import scan
from attention_fusion_ros.simulation.world.world import Road, Terrain, World

FLAT = World('test', (Road(np.array([[-90.0, 0.0], [90.0, 0.0]]), 200.0),), Terrain(kerb=0.0, roughness=0.0))
HERE = (0.0, 0.0, 0.0)


def sweep(faults: Faults, seed: int = 1, **changes):
    cloud, _ = scan(FLAT, HERE, hdl_64e(steps=720, reach=1e4, dropout=0.0, faults=faults, **changes), seed)
    return cloud


def azimuths(cloud) -> np.ndarray:
    return np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0])


def test_blanked_sectors_are_empty_and_nothing_else_is():
    whole, blanked = sweep(NONE), sweep(Faults(blank=((0.5, 1.5), (3.0, 3.4))))
    angle = azimuths(blanked) % (2 * math.pi)
    assert not ((angle > 0.51) & (angle < 1.49)).any() and not ((angle > 3.01) & (angle < 3.39)).any()
    assert len(blanked.xyz) == pytest.approx(len(whole.xyz) * (1 - 1.4 / (2 * math.pi)), rel=0.02)


def test_dirt_takes_returns_around_its_middle():
    counts = [np.histogram(azimuths(sweep(f)), bins=36, range=(-math.pi, math.pi))[0]
              for f in (NONE, Faults(dirt=((0.05, 0.3, 0.9),)))]
    lost = 1 - counts[1] / counts[0]
    assert 0.6 < lost[18] < 1.0 and lost[:14].max() < 0.02 and lost[24:].max() < 0.02


def test_what_is_missing_of_a_turn_is_another_part_in_every_sweep():
    faults = Faults(missing_turn=0.4)
    gaps = []
    for seed in (1, 2, 3):
        angle = np.sort(azimuths(sweep(faults, seed)))
        steps = np.diff(np.append(angle, angle[0] + 2 * math.pi))
        assert steps.max() == pytest.approx(0.4 * 2 * math.pi, abs=0.05)
        gaps.append(float(angle[int(steps.argmax())]))
    assert len({round(g, 1) for g in gaps}) == 3


def test_packets_are_lost_whole():
    cloud = sweep(Faults(packets=0.3, columns=20))
    column = np.floor((azimuths(cloud) + math.pi) / (2 * math.pi) * 720 + 0.5)
    seen = np.unique(column)
    assert 0.5 * 720 < len(seen) < 0.9 * 720
    runs = np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1)
    assert min(map(len, runs[1:-1])) >= 19


def test_empty_returns_come_as_points_at_the_origin():
    model = dict(dropout=0.3)
    plain, sent = (scan(FLAT, HERE, hdl_64e(steps=720, faults=f, **model), 1)[0] for f in (NONE, Faults(no_return=0.5)))
    empty = (sent.xyz == 0).all(axis=1)
    assert empty.sum() > 1000 and (sent.intensity[empty] == 0).all()
    assert np.array_equal(sent.xyz[~empty], plain.xyz)


def test_equal_seeds_lose_the_same():
    faults = Faults(missing_turn=0.2, packets=0.1)
    assert np.array_equal(sweep(faults, 5).xyz, sweep(faults, 5).xyz)


def test_random_faults_are_drawn_in_all_kinds_up_to_270_degrees():
    drawn = [random_faults(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.4 < np.mean([f == NONE for f in drawn]) < 0.6
    blank = [sum(b - a for a, b in f.blank) for f in drawn if f.blank]
    assert max(blank) <= math.radians(270.01) and max(blank) > math.radians(240) and min(blank) < math.radians(30)
    for there in ('dirt', 'missing_turn', 'packets', 'no_return'):
        assert any(getattr(f, there) for f in drawn)
    for seed in range(30):  # sensors that look ahead keep their view
        sensor = with_faults(np.random.default_rng(seed), PRESETS['avia']())
        assert not sensor.faults.blank and not sensor.faults.missing_turn and abs(sensor.height_error) <= 0.15


def test_a_height_error_moves_the_ground_in_the_frame_the_node_is_told():
    low, high = (scan(FLAT, HERE, hdl_64e(steps=360, height_error=e, range_noise=0.0, beam_bias=0.0,
                                          beam_angle_error=0.0, stray=0.0), 1) for e in (0.0, 0.12))
    assert np.median(high[0].xyz[:, 2]) - np.median(low[0].xyz[:, 2]) == pytest.approx(-0.12, abs=0.01)
    assert np.array_equal(low[1], high[1])


@pytest.mark.parametrize('name, across, low, high', [
    ('mid_360', 360.0, -7.0, 52.0), ('avia', 70.4, -38.6, 38.6), ('hap', 120.0, -12.5, 12.5),
    ('at128', 120.0, -12.5, 12.9), ('os0_128', 360.0, -45.0, 45.0)])
def test_views_are_those_of_the_manuals(name, across, low, high):
    model = replace(PRESETS[name](), height=3.0)
    cloud, _ = scan(World('bowl', FLAT.roads, Terrain(kerb=0.0, roughness=0.0)), HERE, model, 3)
    x, y, z = (cloud.xyz - (0.0, 0.0, 0.0)).T
    elevation, azimuth = np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))
    assert np.abs(azimuth).max() == pytest.approx(across / 2, abs=2.5)
    assert elevation.min() == pytest.approx(low, abs=3.0) and elevation.max() < high
    assert math.degrees(max(model.elevations)) == pytest.approx(high)


def test_a_rosette_looks_elsewhere_in_every_sweep_and_most_into_its_middle():
    clouds = [scan(FLAT, HERE, PRESETS['avia'](reach=1e4), seed)[0].xyz for seed in (1, 2)]
    cells = [set(zip(*np.floor(np.degrees(np.arctan2(c[:, 1:], c[:, :1])) * 4).astype(int).T)) for c in clouds]
    assert len(cells[0] & cells[1]) < 0.6 * min(map(len, cells))
    angle = np.degrees(np.arctan2(clouds[0][:, 1], clouds[0][:, 0]))
    assert np.sum(np.abs(angle) < 10) > 1.3 * np.sum(np.abs(angle) > 25)


def test_profiles_draw_their_sensors_and_v1_none_of_the_new_ones():
    assert SENSOR_SHARES['v1'] is SHARES
    assert sum(SENSOR_SHARES['v2'].values()) == pytest.approx(1.0)
    drawn = {random_lidar(np.random.default_rng(s), 65536, SENSOR_SHARES['v2']).name for s in range(300)}
    assert drawn == set(SENSOR_SHARES['v2']) > set(SHARES)
    for seed in range(200):
        assert random_lidar(np.random.default_rng(seed)).faults is NONE
