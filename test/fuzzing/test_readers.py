# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A short run of `tools/fuzz_decoders.py`: malformed inputs give a value or a documented reason, and nothing else."""

from __future__ import annotations

import importlib
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('osmium', reason='writes files of OpenStreetMap')
pytest.importorskip('pyproj', reason='reads roads')
TOOLS = Path(__file__).parents[2] / 'tools'
INPUTS = 40


@pytest.fixture(scope='module')
def tools():
    sys.path.insert(0, str(TOOLS))
    yield importlib.import_module
    sys.path.remove(str(TOOLS))


def names():
    sys.path.insert(0, str(TOOLS))
    try:
        return [target.name for target in importlib.import_module('fuzz.targets').TARGETS]
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture(scope='module')
def known(tools):
    tools('fuzz.targets').warm_up()
    return frozenset(tools('reasons').reasons())


@pytest.mark.parametrize('name', names())
def test_whatever_comes_there_is_a_value_or_a_documented_reason(tools, known, name):
    judge, engines = tools('fuzz.judge'), tools('fuzz.engines')
    target = next(target for target in tools('fuzz.targets').TARGETS if target.name == name)
    outcomes = judge.Outcomes()

    def tried(number, choices):
        judge.judged(target.run, target.make(choices), known, target.memory_mib, outcomes)
    with judge.strict():
        engines.hypothesis(tried, 0, name, 0, INPUTS)
        engines.seeded(tried, 0, name, 0, INPUTS)
    assert outcomes.total >= INPUTS


def test_a_checkpoint_without_its_checksum_is_good_before_something_is_wrong_with_it(tools, tmp_path):
    """With it, whatever was changed would be refused for that alone."""
    from attention_fusion_ros.network import checkpoint as checkpoints
    files = tools('fuzz.files')
    meta, tensors = files.checkpoint()
    path = tmp_path / 'a.safetensors'
    path.write_bytes(files.safetensors_file(meta, {n: np.asarray(2 * t) for n, t in tensors.items()}))
    assert checkpoints.load(path).trained


def test_messages_are_good_before_something_is_wrong_with_them(tools, known):
    """Else nothing behind the first check would be tried."""
    clouds, messages = tools('fuzz.clouds'), tools('fuzz.messages')
    targets = {target.name: target for target in tools('fuzz.targets').TARGETS}
    makers = {'CompressedPointCloud2': clouds.compressed_cloud, 'PointCloud2': clouds.cloud, 'Image': messages.image,
              'Livox CustomMsg': clouds.livox, 'CompressedImage': messages.compressed_image,
              'OccupancyGrid': messages.grid, 'Odometry': messages.odometry, 'TFMessage': messages.transforms,
              'Imu': messages.imu, 'map_alignment': messages.alignment, 'Path': messages.path}
    for name, make in makers.items():
        judge = tools('fuzz.judge')
        outcomes = judge.Outcomes()
        for number in range(40):
            judge.judged(targets[name].run, make(random.Random(number)), known, targets[name].memory_mib, outcomes)
        assert outcomes.count['good'] >= 20, (name, outcomes.count)


def test_choices_of_bytes_are_those_of_the_bytes(tools):
    choices = tools('fuzz.choices').ChoicesFromBytes
    one, same, other = choices(b'abcdefgh'), choices(b'abcdefgh'), choices(b'zbcdefgh')
    values = [[c.randrange(1000), c.choice('xyz'), c.random(), c.randbytes(2)] for c in (one, same, other)]
    assert values[0] == values[1] != values[2]
    for at in range(8):
        changed = choices(bytes(b + (i == at) for i, b in enumerate(b'abcdefgh')))
        assert [changed.randrange(1000), changed.choice('xyz'), changed.random(), changed.randbytes(2)] != values[0], at
    ended = choices(b'')
    assert [ended.randrange(7), ended.random(), ended.randbytes(3)] == [0, 0.0, b'\0\0\0']
    assert len(Counter(choices(bytes([i] * 8)).randrange(5) for i in range(256))) == 5


@pytest.mark.parametrize('error, words', [
    (KeyError('x'), 'KeyError'), (RuntimeWarning('x'), 'RuntimeWarning'), (MemoryError(), 'MemoryError')])
def test_another_error_than_a_documented_one_is_a_fault(tools, known, error, words):
    judge = tools('fuzz.judge')

    def run(_):
        raise error
    with pytest.raises(judge.Fault, match=words):
        judge.judged(run, None, known, 1.0, judge.Outcomes())


def test_an_unknown_reason_and_a_warning_are_faults(tools, known):
    import warnings

    from attention_fusion_ros.errors import InputError
    judge = tools('fuzz.judge')

    def undocumented(_):
        raise InputError('no_such_reason', 'cause', 'remedy')

    def warned(_):
        warnings.warn('odd', stacklevel=1)
    for run, words in ((undocumented, 'undocumented'), (warned, 'UserWarning')):
        with judge.strict(), pytest.raises(judge.Fault, match=words):
            judge.judged(run, None, known, 1000.0, judge.Outcomes())


@pytest.mark.parametrize('before, peak, fault', [
    (100, 300, True),    # a peak of this input, 200 MiB above what was held at the start
    (100, 105, False),   # within the limit
    (300, 300, False),   # an older peak that the kernel does not forget says nothing about this input
    (300, 320, True)])   # more than that peak
def test_memory_of_one_input_is_counted_from_what_was_held_before(monkeypatch, tools, known, before, peak, fault):
    judge = tools('fuzz.judge')
    values = iter([before * judge.MIB, peak * judge.MIB])
    monkeypatch.setattr(judge, 'most_resident', lambda: next(values))
    outcomes = judge.Outcomes(held_bytes=100 * judge.MIB)
    if fault:
        with pytest.raises(judge.Fault, match=f'{peak - 100} MiB'):
            judge.judged(lambda _: None, None, known, 10.0, outcomes)
    else:
        judge.judged(lambda _: None, None, known, 10.0, outcomes)
        assert outcomes.total == 1


def test_the_kernel_tells_how_much_memory_an_input_took(monkeypatch, tools, known):
    """As far as it tells: what it counts per processor is missing, hundreds of MiB on a large machine."""
    judge = tools('fuzz.judge')
    told, ask, beyond = [], judge.most_resident, 400 * judge.MIB
    monkeypatch.setattr(judge, 'most_resident', lambda: told.append(ask()) or told[-1])
    assert bytearray(b'x') * (200 * judge.MIB)  # that it was large before hides nothing
    judge.forget_peak()
    outcomes = judge.Outcomes()
    # more than it held ever, where the kernel does not let a process forget that
    large = ask() - judge.resident() + beyond
    faults = []
    try:
        judge.judged(lambda _: bytearray(b'x') * large, None, known, 10.0, outcomes)
    except judge.Fault as fault:
        faults.append(str(fault))
    if len(told) < 2:
        pytest.skip(f'this machine has not so much memory: {faults}')
    before, after = told
    if after < max(before, outcomes.held_bytes) + beyond // 2:
        pytest.skip('this kernel does not tell how much memory a process held')
    assert len(faults) == 1 and 'MiB for one input' in faults[0]
