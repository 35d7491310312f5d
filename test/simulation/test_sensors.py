# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated sensors: what every one of them can do, and how a new one is hung onto a drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from attention_fusion_ros.simulation.sensors import lidar
from attention_fusion_ros.simulation.sensors.lidar import vlp_16
from attention_fusion_ros.simulation.sensors.map_image import MapError, MapServer, MapStyle, draw_map
from attention_fusion_ros.simulation.sensors.odometry import OdometrySensor
from attention_fusion_ros.simulation.sensors.scan import LidarSensor, scan
from attention_fusion_ros.simulation.sweeps import DriveOptions, SimulatedDrive
from attention_fusion_ros.simulation.world.bodies import vehicle_parts
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.world import Pose, Vehicle, World

SHORT = DriveOptions(seed=1, rate=4.0, lidar='vlp_16', duration=1.0)


@pytest.fixture(scope='module')
def world() -> World:
    return generate_world(5, 't')


def test_lidar_and_map_are_sensors(world):
    cloud = LidarSensor(vlp_16()).measure(world, world.pose, np.random.default_rng(1), 7)
    same, _ = scan(world, world.pose, vlp_16(), np.random.default_rng(1))
    assert cloud.stamp_ns == 7 and np.array_equal(cloud.xyz, same.xyz)
    server = MapServer(MapStyle(), MapError(2.0, -1.0, 0.1), route=True)
    image = server.measure(world, world.pose, np.random.default_rng(1))
    drawn, layout = draw_map(world, world.pose, MapStyle(), MapError(2.0, -1.0, 0.1), np.random.default_rng(1), True)
    assert np.array_equal(image, drawn) and server.layout == layout


def test_odometry_begins_exactly_and_drifts(world):
    x, y, yaw = world.pose
    poses = [(x + 0.5 * k * np.cos(yaw), y + 0.5 * k * np.sin(yaw), yaw) for k in range(40)]
    exact, drifting = OdometrySensor(0.0, 0.0), OdometrySensor()
    rng = np.random.default_rng(0)
    off = []
    for pose in poses:
        truth, measured = (sensor.measure(world, pose, rng) for sensor in (exact, drifting))
        assert truth[:2, 3] == pytest.approx(pose[:2], abs=1e-6)
        off.append(np.linalg.norm(measured[:3, 3] - truth[:3, 3]))
    assert off[0] == 0 and 0.02 < off[-1] < 1.0 and np.mean(off[30:]) > np.mean(off[1:6])


@dataclass(frozen=True)
class Gnss:
    """All that a new sensor takes."""

    std_m: float = 1.5

    def measure(self, world: World, pose: Pose, rng: np.random.Generator, stamp_ns: int = 0) -> np.ndarray:
        return np.array(pose[:2]) + rng.normal(0, self.std_m, 2)


def test_a_further_sensor_is_asked_at_every_sweep_of_a_drive():
    drive = SimulatedDrive(SHORT)
    fixes = [drive.measure(Gnss(), index) for index in range(len(drive))]
    places = [drive.odometry(index)[0][1][:2] for index in range(len(drive))]
    assert len(fixes) == 4 and not np.array_equal(fixes, places)
    assert np.abs(np.subtract(fixes, places)).max() < 8
    assert np.array_equal(fixes[2], drive.measure(Gnss(), 2)) and np.array_equal(
        [drive.measure(Gnss(0.0), index) for index in range(4)], places)


@pytest.mark.parametrize('duration', [1e-6, 0.01, 0.249])
def test_a_drive_shorter_than_a_period_is_one_sweep(duration):
    drive = SimulatedDrive(DriveOptions(seed=1, rate=4.0, lidar='vlp_16', duration=duration))
    assert len(drive) == 1 and drive.odometry(0)[0][0] == 0 and len(drive.sweep(0).cloud.xyz) > 1000
    for index in (1, -1):
        with pytest.raises(IndexError, match='a drive with 1 sweeps'):
            drive.odometry(index)


@pytest.mark.parametrize('changes', [{'rate': float('inf')}, {'rate': float('nan')}, {'duration': float('nan')}])
def test_numbers_that_make_no_drive(changes):
    with pytest.raises(ValueError, match='must'):
        SimulatedDrive(DriveOptions(**changes))


def test_a_new_preset_changes_no_scene(monkeypatch):
    """Before, one list of probabilities stood beside the presets, and one preset more was an error everywhere."""
    before = [lidar.random_lidar(np.random.default_rng(seed)) for seed in range(20)]
    monkeypatch.setitem(lidar.PRESETS, 'new_sensor', vlp_16)
    assert [lidar.random_lidar(np.random.default_rng(seed)) for seed in range(20)] == before
    assert set(lidar.SHARES) <= {*lidar.PRESETS, lidar.FAN} and sum(lidar.SHARES.values()) == pytest.approx(1.0)


HEIGHTS = (0.7648892831336707, 1.0048340547736734, 1.3019336219094693, 1.5, 0.7570023329276592, 0.9236277286941186,
           1.2094510914776473, 1.4, 3.5, 1.0, 2.9)  # m, of the boxes of the vehicles below


def test_the_paint_of_a_vehicle_is_the_same_in_every_python():
    """Values of 64-bit CPython 3.11, in which `hash` of a tuple was the seed; no version promises them."""
    cars = [Vehicle(12.345, -6.789, 0.3, 4.5, 1.8, 1.5, 'car'), Vehicle(-0.001, 0.0, 0.0, 4.0, 1.7, 1.4, 'car'),
            Vehicle(3.25, 71.5, 1.0, 8.0, 2.5, 3.5, 'truck')]
    corners, owner, height, losses = vehicle_parts(cars, 17)
    assert losses == [0.1] * 3 and owner.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert height == pytest.approx(HEIGHTS, abs=1e-12)
