# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Made-up predictions of an evaluation, for its reports."""

from __future__ import annotations

import math

import numpy as np

from attention_fusion_ros.contracts import Branch
from attention_fusion_ros.datasets import blind
from attention_fusion_ros.datasets import held_out as sim_scenes
from attention_fusion_ros.datasets.held_out import CURVE_SHIFT_M, CURVE_YAW_DEG, HeldOutInfo
from attention_fusion_ros.evaluation.methods.baselines import LIDAR, MAP, STRAIGHT
from attention_fusion_ros.evaluation.simulation import run as sim_run
from attention_fusion_ros.evaluation.simulation.run import (
    NO_LIDAR,
    NO_MAP,
    NO_VEHICLES,
    NO_VEHICLES_NO_MAP,
    ScenePredictions,
)
from attention_fusion_ros.metrics.branches import Prediction, TrueRoads

FIRST = sim_scenes.FIRST_SEED


def fake_predictions(count: int = 40) -> list[ScenePredictions]:
    """Scenes with a network that is right to 0.5 deg, a map 5 deg off, and the network without map 2 deg off."""
    rng, of_blanked = np.random.default_rng(0), np.random.default_rng(1)
    found = []
    for k in range(count):
        true = TrueRoads(tuple((float(b), float(b)) for b in (0.1, 2.0, -2.5)), (0.1, 0.1))
        info = HeldOutInfo(FIRST + k, ('x', 'straight')[k % 2], ('hdl_64e', 'vlp_16')[k % 4 // 2], 64, k % 8 != 0,
                         k % 3 == 0, (1.0, 1.0), 0.02)

        def off(degrees: float, probability: float = 1.0, rng: np.random.Generator = rng) -> Prediction:
            branches = tuple(Branch(b + math.radians(degrees * rng.normal()), h + math.radians(degrees * rng.normal()),
                                    probability, 0.1, 0.1) for b, h in true.branches)  # noqa: B023
            return Prediction(branches, branches[0])
        predictions = {STRAIGHT: off(40), MAP: off(5) if info.has_map else Prediction(()), LIDAR: off(8),
                       'network': off(0.5), 'concatenation': off(1.5)}
        states = {('network', NO_MAP): off(2), ('network', NO_LIDAR): off(4)}
        if k % 3 == 0:
            states |= {('network', NO_VEHICLES): predictions['network'], ('network', NO_VEHICLES_NO_MAP): off(2),
                       (LIDAR, NO_VEHICLES): off(8)}
        maps = (('shift', CURVE_SHIFT_M), ('yaw', CURVE_YAW_DEG))
        curve = {(m, kind, s): off(e * (1 + s / 8)) for kind, sizes in maps
                 for s in sizes for m, e in (('network', 0.5), (MAP, 5))} if k % 5 == 0 else {}
        blanked = {(place, width, with_map): off(0.5, rng=of_blanked)
                   for place in blind.PLACES for width in blind.WIDTHS_DEG if width
                   for with_map in (False, True)[:2 if info.has_map else 1]}
        ratios = {name: {'roadside': (0.22, 0.1), 'vehicles': (0.04, 0.1), 'road': (0.3, 0.3)}
                  for name in ('stage1', sim_run.PUBLISHED)}
        found.append(ScenePredictions(info, true, true, predictions, states, curve, ratios,
                                  {'as given': 0.6, NO_MAP: 0.9}, blanked))
    return found
