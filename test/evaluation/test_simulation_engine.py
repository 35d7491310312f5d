# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate --sim` on an engine: the scenes come in their order, whichever job is done first."""

from __future__ import annotations

from attention_fusion_ros.datasets.held_out import FIRST_SEED
from attention_fusion_ros.evaluation.simulation.run import SCENES_PER_JOB, SimSetup, evaluate_scenes


class Backwards:
    """Does the last job first."""

    name = 'backwards'

    def __init__(self):
        self.jobs = 0

    def run(self, function, items):
        self.jobs += len(items)
        return ((number, function(items[number])) for number in reversed(range(len(items))))


def test_scenes_of_an_engine_come_in_order(tmp_path):
    setup, engine = SimSetup((), tmp_path), Backwards()
    found = evaluate_scenes(FIRST_SEED, SCENES_PER_JOB + 1, setup, engine=engine)
    plain = evaluate_scenes(FIRST_SEED, SCENES_PER_JOB + 1, setup)
    assert engine.jobs >= 2 and [scene.info.seed for scene in found] == [scene.info.seed for scene in plain]
    assert [scene.predictions for scene in found] == [scene.predictions for scene in plain]
