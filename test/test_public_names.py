# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What `import attention_fusion_ros` offers, and that it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import attention_fusion_ros


def test_every_public_name_is_there_and_listed():
    assert set(attention_fusion_ros.__all__) <= set(dir(attention_fusion_ros))
    for name in attention_fusion_ros.__all__:
        assert getattr(attention_fusion_ros, name) is not None
    assert {'FusionPipeline', 'SyncedSweep', 'NodeConfig', 'Recording'} <= set(attention_fusion_ros.__all__)
    assert attention_fusion_ros.FusionPipeline.__module__ == 'attention_fusion_ros.pipeline.fusion'


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match='no_such_name'):
        attention_fusion_ros.no_such_name  # noqa: B018
    with pytest.raises(ImportError):
        from attention_fusion_ros import no_such_name  # noqa: F401


def test_importing_the_package_loads_nothing_else():
    code = ('import sys; before = set(sys.modules); import attention_fusion_ros; '
            'new = set(sys.modules) - before; '
            'print(sorted(name for name in new if name.split(".")[0] not in sys.stdlib_module_names))')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "['attention_fusion_ros']"


def test_names_of_the_first_version_still_work():
    from attention_fusion_ros import pipeline
    from attention_fusion_ros.pipeline.fusion import FusionPipeline
    assert issubclass(pipeline.FusionPipeline, FusionPipeline)
    with pytest.raises(AttributeError):
        pipeline.Nothing  # noqa: B018
