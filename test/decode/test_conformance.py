# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Encoded messages in the layouts of drivers, each with what it says beside it: see tools/conformance.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from attention_fusion_ros.decode import decode_sweep
from attention_fusion_ros.stream.typestore import typestore

FOLDER = Path(__file__).with_name('conformance')
TOOLS = Path(__file__).parents[2] / 'tools'
STORE = typestore()


@pytest.mark.parametrize('name', sorted(path.stem for path in FOLDER.glob('*.cdr')))
def test_what_a_driver_sends_is_read_as_it_was_meant(name):
    answer = json.loads((FOLDER / f'{name}.json').read_text())
    cloud = decode_sweep(STORE.deserialize_cdr((FOLDER / f'{name}.cdr').read_bytes(), answer['type']))
    assert (cloud.stamp_ns, cloud.frame_id) == (answer['stamp_ns'], answer['frame_id'])
    np.testing.assert_allclose(cloud.xyz, answer['xyz'], atol=1e-5)
    if answer['intensity'] is None:
        assert cloud.intensity is None
    else:
        np.testing.assert_array_equal(cloud.intensity, answer['intensity'])
    if answer['time_field'] is None:
        assert cloud.times is None
    else:
        offsets, told = cloud.times.offsets_s(cloud.stamp_ns, cloud.xyz)
        assert told.startswith(answer['time_field'])
        # float64 nanoseconds since the epoch have steps of 256 ns.
        np.testing.assert_allclose(offsets, answer['seconds_after_stamp'], atol=2e-6)


def test_every_layout_of_the_table_is_there(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    sys.modules.pop('cloud_layouts', None)
    from cloud_layouts import LAYOUTS
    names = [layout.name for layout in LAYOUTS]
    assert sorted(names) == sorted(path.stem for path in FOLDER.glob('*.cdr')) and len(names) == len(set(names))
