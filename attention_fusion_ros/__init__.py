# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Road directions from LiDAR and a coarse map image, with channel and spatial attention.

The names in `__all__` are the public ones; they are imported on first use (PEP 562), so that `import
attention_fusion_ros` loads neither torch nor anything else. The core (everything outside `ros/`) imports neither rclpy
nor message packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = '0.1.0'

_MODULES = {  # public name -> the module that defines it
    'Branch': 'contracts',
    'ConfigurationError': 'errors',
    'DroppedSweep': 'stream.recorded_sweeps',
    'FusionPipeline': 'pipeline.fusion',
    'FusionResult': 'contracts',
    'InputError': 'errors',
    'MapImage': 'contracts',
    'Mode': 'contracts',
    'Motion': 'contracts',
    'NodeConfig': 'config',
    'PointCloud': 'contracts',
    'Recording': 'stream.recording',
    'SyncedSweep': 'contracts',
    'synced_sweeps': 'stream.recorded_sweeps',
}
__all__ = ['__version__', *_MODULES]  # noqa: PLE0604 - names, all of them text

if TYPE_CHECKING:
    from attention_fusion_ros.config import NodeConfig as NodeConfig
    from attention_fusion_ros.contracts import Branch as Branch
    from attention_fusion_ros.contracts import FusionResult as FusionResult
    from attention_fusion_ros.contracts import MapImage as MapImage
    from attention_fusion_ros.contracts import Mode as Mode
    from attention_fusion_ros.contracts import Motion as Motion
    from attention_fusion_ros.contracts import PointCloud as PointCloud
    from attention_fusion_ros.contracts import SyncedSweep as SyncedSweep
    from attention_fusion_ros.errors import ConfigurationError as ConfigurationError
    from attention_fusion_ros.errors import InputError as InputError
    from attention_fusion_ros.pipeline.fusion import FusionPipeline as FusionPipeline
    from attention_fusion_ros.stream.recorded_sweeps import DroppedSweep as DroppedSweep
    from attention_fusion_ros.stream.recorded_sweeps import synced_sweeps as synced_sweeps
    from attention_fusion_ros.stream.recording import Recording as Recording


def __getattr__(name: str) -> Any:
    """Import a public name on first use. Raises AttributeError for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names beside those already loaded."""
    return sorted({*globals(), *__all__})
