# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate --interventions` from checkpoint to tables and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.checkpoints import Networks
from attention_fusion_ros.evaluation.interventions.attention_tables import deletion_tables, place_table, replaced_tables
from attention_fusion_ros.evaluation.interventions.map_tables import (
    lateral_table,
    map_tables,
    quantile_estimate,
    registration_table,
    vehicles_table,
)
from attention_fusion_ros.evaluation.interventions.record import SceneRecord
from attention_fusion_ros.evaluation.interventions.registration import Left, left_over_a_drive
from attention_fusion_ros.evaluation.interventions.run import Setup, examine
from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings
from attention_fusion_ros.evaluation.tables import Report, cell
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.simulation.sensors.map_image import random_error
from attention_fusion_ros.simulation.world.profile import profile_of
from attention_fusion_ros.utils.tables import Table

NAME = 'interventions'
DRIVES, SWEEPS = 12, 10  # simulated drives whose map is registered sweep after sweep
FIRST_DRIVE = 20_000_000  # seed of the first


def write_interventions(networks: Networks, scenes: int, settings: RunSettings, osm: Path | None = None,
                        profile: str = 'v1') -> RunOutput:
    """Intervene on `scenes` held-out seeds; writes `interventions.md` and `.json`. Raises ConfigurationError."""
    settings.check_held_out()
    if osm is not None and not osm.is_file():
        raise ConfigurationError(f"--osm: '{osm}' does not exist")
    if profile_of(profile).osm_share >= 1.0 and osm is None:
        raise ConfigurationError(f"scenes of profile '{profile}' need an OpenStreetMap extract. Remedy: --osm FILE.")
    config = networks.configs[0][1]
    setup = Setup(config, settings.cache, networks.lookahead, osm, profile)
    with settings.new_bar('scenes, twice', 2 * scenes, 'scene') as bar:
        try:
            records = examine(settings.first_seed, scenes, setup, settings.workers, bar.update)
        except ValueError as error:
            raise ConfigurationError(f'--interventions: {error}. Remedy: more --scenes.') from error
    report = Report(settings.provenance(networks.files))
    report.data['scenes'] = {'number': len(records), 'with a map': sum(r.info.has_map for r in records),
                             'seeds': [settings.first_seed, settings.first_seed + scenes - 1], 'profile': profile}
    fill(report, records, networks.lookahead)
    with settings.new_bar('drives', DRIVES, 'drive') as bar:
        add(report, *drives_table(config, bar.update))
    report.tables = [Table(t.title, t.header, t.rows, (*t.notes, *networks.notes), t.alignment) for t in report.tables]
    return RunOutput(report.markdown(), report.write(settings.out, NAME))


def fill(report: Report, records: list[SceneRecord], ring: float) -> None:
    """All tables that are made of scenes; ring: radius in m."""
    add(report, *replaced_tables(records))
    add(report, *deletion_tables(records))
    add(report, *place_table(records))
    add(report, *map_tables(records, ring))
    add(report, *registration_table(records))
    add(report, *vehicles_table(records))
    add(report, *lateral_table(records, ring))


def add(report: Report, tables: list[Table], data: dict[str, Any]) -> None:
    """Tables and what they are made of."""
    report.tables += tables
    report.data |= data


def drives_table(config: NodeConfig, progress: Callable[[int], object]) -> tuple[list[Table], dict[str, Any]]:
    """What registration leaves at the first and at the last of SWEEPS sweeps; no table where nothing is registered."""
    pipeline = FusionPipeline(config)
    if not pipeline.info.registers_map:
        pipeline.close()
        return [], {}
    rows, data = [], {}
    for wide, name in ((False, 'standard'), (True, '8 m, 15 deg')):
        drives = []
        for k in range(DRIVES):
            error = random_error(np.random.default_rng([FIRST_DRIVE + k, 95]), wide=wide)
            drives.append(left_over_a_drive(pipeline, FIRST_DRIVE + k, error, SWEEPS))
            if wide:
                progress(1)
        for sweep in (0, SWEEPS - 1):
            found = _left([drive[sweep] for drive in drives if sweep < len(drive)])
            rows.append((name, str(sweep + 1), str(len(drives)), *(cell(value, 2) for value in found.values())))
            data[f'{name}, sweep {sweep + 1}'] = found
    pipeline.close()
    return [Table('Registration over a drive', ('map error', 'sweep', 'drives', 'lateral [m]', 'longitudinal [m]',
                                                'yaw [deg]'), rows,
                  ('Simulated drives with exact odometry; the error of the map is rigid. Medians. Brackets: 95 % '
                   'interval, drives resampled.',))], {'registration over a drive': data}


def _left(found: list[Left | None]) -> dict[str, Any]:
    known = [left for left in found if left is not None]
    return {'lateral': quantile_estimate([[left.lateral] for left in known], 0.5),
            'longitudinal': quantile_estimate([[left.longitudinal] for left in known], 0.5),
            'yaw': quantile_estimate([[math.degrees(left.yaw)] for left in known], 0.5)}
