# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""truth.json beside a simulated recording: where the vehicle really was at every sweep, and where the roads went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attention_fusion_ros.simulation.sweeps import SimulatedDrive, SimulatedSweep
from attention_fusion_ros.utils import atomic

NAME = 'truth.json'
RINGS_M = (10.0, 20.0, 30.0)


def row(drive: SimulatedDrive, sweep: SimulatedSweep, start_ns: int) -> dict[str, Any]:
    """What is true of one sweep.

    Angles in rad from base_link, left positive; (bearing, heading) pairs by ring; the pose in m and rad in the frame of
    the world, and in degrees where that lies on the earth.
    """
    rings = {f'{ring:g}': drive.truth(sweep.index, ring) for ring in RINGS_M}
    found: dict[str, Any] = {
        'sweep': sweep.index, 'stamp_ns': start_ns + sweep.time_ns, 'pose': list(sweep.pose),
        'branches': {ring: truth.branches for ring, truth in rings.items()},
        'direction': {ring: truth.direction for ring, truth in rings.items()}}
    place = drive.degrees(sweep.pose)
    if place is not None:
        found['latitude'], found['longitude'] = place
    return found


def write(folder: Path, drive: SimulatedDrive, rows: list[dict[str, Any]]) -> None:
    """Write the rows, and what they are measured in."""
    about: dict[str, Any] = {'frame': 'the world of the simulation, m', 'datum': None, 'route': None}
    if drive.datum is not None:
        about['frame'] = 'metres east and north of the datum'
        about['datum'] = dict(zip(('latitude', 'longitude', 'height'), drive.datum))
        about['route'] = json.loads(drive.route_geojson)
        about['map data'] = '(c) OpenStreetMap contributors, ODbL, https://www.openstreetmap.org/copyright'
    atomic.write_json(folder / NAME, {**about, 'sweeps': rows})
