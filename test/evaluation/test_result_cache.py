# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Results on disk: complete, only for what made them, and without running code that is in a file."""

from __future__ import annotations

import json
import os
import pickle

import pytest
from support.predictions import fake_predictions

from attention_fusion_ros.evaluation.result_cache import ResultCache, results_digest
from attention_fusion_ros.evaluation.simulation.run import ScenePredictions


@pytest.fixture
def cache(tmp_path) -> ResultCache[ScenePredictions]:
    return ResultCache(tmp_path / 'results', ScenePredictions)


def test_what_is_read_equals_what_was_written(cache):
    scenes = fake_predictions(6)
    assert any(scene.curve for scene in scenes) and any(not scene.predictions['map alone'].branches for scene in scenes)
    cache.write((3, 4), scenes)
    assert cache.read((3, 4)) == scenes
    assert cache.read((3, 5)) is None


@pytest.mark.parametrize('damage', [
    lambda text: text[:len(text) // 2],
    lambda text: '[]',
    lambda text: text.replace('"format": 1', '"format": 0'),
    lambda text: text.replace('"scene_class"', '"scene_kind"'),
    lambda text: text.replace('"seed": 2', '"seed": "2'),
])
def test_a_damaged_or_older_file_counts_as_missing(cache, damage):
    cache.write((3, 4), fake_predictions(2))
    path = cache.path((3, 4))
    path.write_text(damage(path.read_text()))
    assert cache.read((3, 4)) is None


class Exploit:
    def __reduce__(self):
        return os.mkdir, ('pwned',)


def test_code_in_a_file_is_not_run(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (cache.path((3, 4)), cache.path((3, 4)).with_suffix('.pkl')):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps([Exploit()]))
    assert cache.read((3, 4)) is None and not (tmp_path / 'pwned').exists()


def test_the_digest_changes_with_settings_and_checkpoints(tmp_path):
    weights = tmp_path / 'a.safetensors'
    weights.write_bytes(b'one')
    before = results_digest(['settings'], [weights])
    assert before == results_digest(['settings'], [weights]) != results_digest(['others'], [weights])
    weights.write_bytes(b'two')
    assert before != results_digest(['settings'], [weights])


def test_files_are_plain_json(cache):
    cache.write((3, 4), fake_predictions(1))
    content = json.loads(cache.path((3, 4)).read_text())
    assert content['results'][0]['info']['scene_class'] == 'x'
