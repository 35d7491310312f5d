# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`evaluate --bags`: recordings against what is true of them, the worst first."""

from __future__ import annotations

import csv
import json
import math
import shutil

import numpy as np
import pytest
from support import synthetic_bag as bag

from attention_fusion_ros.commands import evaluate
from attention_fusion_ros.config import from_flat
from attention_fusion_ros.datasets.drives import RingTruth
from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.evaluation.drives.benchmark import score_sweep
from attention_fusion_ros.evaluation.recordings import DRIVEN, describe, score_recording
from attention_fusion_ros.evaluation.replay import Replay
from attention_fusion_ros.metrics.branches import Prediction
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.stream.recording import Recording


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    file = bag.lively_checkpoint(tmp_path_factory.mktemp('weights') / 'lively.safetensors')
    return from_flat({'checkpoint': str(file), 'device': 'cpu', 'threads': 1})


def predictions(path, config):
    with Recording(path) as recording:
        topics = recording.input_topics()
        run = Replay(recording, topics, config, FusionPipeline(config)).run()
        return {record.stamp_ns: Prediction.of(result) for record, result in run if result is not None}


def test_grad_cam_that_fails_is_told_and_costs_its_picture_only(config, tmp_path, monkeypatch):
    path = bag.write(tmp_path / 'short', bag.drive(2))

    def gone(result):
        raise InputError('no_gradients', 'The checkpoint is gone.', 'put it back.')
    pipeline = FusionPipeline(config)
    monkeypatch.setattr(pipeline, 'explain', gone)
    with Recording(path) as recording:
        run = Replay(recording, recording.input_topics(), config, pipeline)
        assert [run.explain(result) for _, result in run.run() if result is not None] == [{}, {}]
    assert run.remedies == {'no_gradients': 'The checkpoint is gone. Remedy: put it back.'}


def test_the_way_that_was_driven_is_the_truth(config, tmp_path):
    """2 m a sweep along x: of the first two the road ahead is known on the ring of 20 m, of the last two the one
    behind.
    """
    path = bag.write(tmp_path / 'straight', bag.drive(12))
    scores = score_recording(path, config, {})
    assert (scores.truth, scores.sweeps, len(scores.scored)) == (DRIVEN, 12, 4)
    found = predictions(path, config)
    assert [sweep.stamp_ns for sweep in scores.scored] == [bag.T0 + i * bag.PERIOD for i in (0, 1, 10, 11)]
    for sweep, true in zip(scores.scored, (RingTruth((0.0, 0.0), None, None),) * 2
                           + (RingTruth(None, (math.pi, math.pi), None),) * 2):
        expected = score_sweep(found[sweep.stamp_ns], true)
        np.testing.assert_allclose(sweep.score.heading_error, expected.heading_error, atol=0.1)
        assert sweep.score.found == expected.found and describe(sweep)
    assert len(score_recording(path, config, {}, every=10).scored) == 2


def test_truth_beside_a_simulated_recording_is_taken(mini_recording, config, tmp_path):
    scores = score_recording(mini_recording, config, {})
    rows = json.loads((mini_recording / 'truth.json').read_text())['sweeps']
    assert scores.truth == 'truth.json' and len(scores.scored) == len(rows) == 4 and scores.as_drive().has_branches
    assert [sum(sweep.score.counts) > 0 for sweep in scores.scored] == [True] * 4
    bare = shutil.copytree(mini_recording, tmp_path / 'bare')
    (bare / 'truth.json').write_text('{"sweeps": [{}]}')
    with pytest.raises(ConfigurationError, match='is no truth of a ring of 20 m'):
        score_recording(bare, config, {})
    (bare / 'truth.json').unlink()
    with pytest.raises(ConfigurationError, match='nothing is true of any sweep'):  # 16 m long
        score_recording(bare, config, {})
    with pytest.raises(ConfigurationError, match='has no odometry, and no truth.json'):
        score_recording(bare, config, {'odometry': 'none'})


def test_a_table_of_all_and_the_worst_sweeps(mini_recording, config, tmp_path, capsys):
    bag.write(tmp_path / 'bags' / 'standing', bag.drive(2))
    words = ['--bags', str(mini_recording), str(tmp_path / 'bags'), '--checkpoint', config.checkpoint, '--device',
             'cpu', '--out', str(tmp_path / 'out')]
    assert evaluate.main(words) == 1  # nothing is true of one of them
    with open(tmp_path / 'out' / 'recordings.csv', newline='') as file:
        failed, scored = csv.DictReader(file)
    assert failed['reason'] == 'configuration' and 'nothing is true' in failed['message']
    assert scored['scored'] == '4' and scored['F1@15'] and scored['truth'] == 'truth.json'
    with open(tmp_path / 'out' / 'worst_sweeps.csv', newline='') as file:
        badness = [float(row['badness']) for row in csv.DictReader(file)]
    assert len(badness) == 4 and badness == sorted(badness, reverse=True)
    assert '1 made, 0 kept from before, 1 failed' in capsys.readouterr().out


def test_recordings_are_an_evaluation_of_their_own(tmp_path, capsys):
    assert evaluate.main(['--bags', 'a', '--sim', '3', '--baselines-only', '--out', str(tmp_path)]) == 2
    assert 'leave --sim, --baselines-only out' in capsys.readouterr().err
