# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Held-out simulation from checkpoints to tables, JSON and plots."""

from __future__ import annotations

from pathlib import Path

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation import plots
from attention_fusion_ros.evaluation.checkpoints import Networks
from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings
from attention_fusion_ros.evaluation.simulation.blanked import TITLE as BLANKED
from attention_fusion_ros.evaluation.simulation.report import SimulationReport
from attention_fusion_ros.evaluation.simulation.run import Network, SimSetup, evaluate_scenes
from attention_fusion_ros.simulation.world.profile import profile_of

SHOWN_TABLES = 3  # on the terminal, and that of removed sectors
ATTENTION_GOALS = {'roadside': ('>=', 2.0), 'vehicles': ('<=', 0.5)}


def write_simulation(networks: Networks, scenes: int, settings: RunSettings, osm: Path | None = None,
                     profile: str = 'v1') -> RunOutput:
    """Evaluate on `scenes` held-out simulated scenes; writes `simulation.md`, `.json` and plots.

    osm: an OpenStreetMap extract for a share of the worlds.
    profile: kinds of places and sensors, see `simulation.world.profile`.

    Raises ConfigurationError.
    """
    settings.check_held_out()
    if osm is not None and not osm.is_file():
        raise ConfigurationError(f"--osm: '{osm}' does not exist")
    if profile_of(profile).osm_share >= 1.0 and osm is None:
        raise ConfigurationError(f"scenes of profile '{profile}' need an OpenStreetMap extract. Remedy: --osm FILE.")
    named = tuple(Network(checkpoint.name, config, checkpoint.sees) for checkpoint, config in networks.configs)
    setup = SimSetup(named, settings.cache, networks.lookahead, osm=osm, profile=profile)
    with settings.new_bar('scenes', scenes, 'scene') as bar:
        found = evaluate_scenes(settings.first_seed, scenes, setup, settings.workers, bar.update,
                                settings.engine)
    built = SimulationReport(found, networks.main, settings.provenance(networks.files), networks.notes)
    report = built.build()
    written = report.write(settings.out, 'simulation')
    shown = [table for k, table in enumerate(report.tables) if k < SHOWN_TABLES or table.title == BLANKED]
    text = '\n'.join(table.markdown(report.provenance.lines()) for table in shown)
    return RunOutput(text, written + _plots(built, networks.main, settings.out))


def _plots(built: SimulationReport, network: str | None, out: Path) -> list[Path]:
    written = [plots.error_distribution(built.errors(), out / 'simulation_bearing_error.png', network)]
    if network is None:
        return written
    written.append(plots.reliability(built.reliability(network), out / 'simulation_reliability.png'))
    if built.curved:
        shift, yaw, without_map = built.curves(network)
        written.append(plots.map_error_curve(shift, yaw, without_map, out / 'simulation_map_error.png', network))
    ratios = built.ratios()
    if ratios:
        written.append(plots.attention_ratio_boxes(ratios, out / 'simulation_attention.png', ATTENTION_GOALS))
    return written
