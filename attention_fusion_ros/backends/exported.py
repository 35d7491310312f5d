# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What an exported file holds: names of inputs and outputs, and the description that makes them readable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_fusion_ros.backends.base import Model
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
from attention_fusion_ros.contracts import PRIOR_SIZE, READING, SELECTION, Calibration
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network.config import FORMAT_VERSION, KIND, NetworkConfig, channel_labels
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.output import SPATIAL_NAMES, NetworkOutput
from attention_fusion_ros.utils import outside
from attention_fusion_ros.utils.tensors import as_array
from attention_fusion_ros.utils.torch_later import Tensor, torch

if TYPE_CHECKING:
    from attention_fusion_ros.network.checkpoint import Checkpoint

PRIOR = 'prior'
INPUTS = ('lidar', 'map', PRIOR)
SPATIAL_PREFIX = 'spatial_'
OUTPUTS = ('head', 'no_direction', 'road', 'channel', 'contribution', 'alignment', 'alignment_std',
           'alignment_covariance', 'alignment_log_absent', 'rings', 'rings_no_direction')  # beside the spatial ones
REGISTERED = ('covariance', 'log_absent')  # of what the registration of the map returned
# Of a description: what is needed to make results of the outputs.
NEEDED = ('kind', 'version', 'checkpoint', 'trained', 'network', 'calibration', 'head_channels')


def named_outputs(output: NetworkOutput) -> dict[str, Tensor]:
    """The outputs of an exported file, by name: `head`, `no_direction`, `road`, `channel`, `contribution`, one
    `spatial_<stage>` for each stage with spatial attention; `alignment`, `alignment_std` of a network that registers
    the map, and `alignment_covariance`, `alignment_log_absent` where it tells them; `rings`, `rings_no_direction` of
    one that answers for several rings. Shapes as in `NetworkOutput` and in the docstring of the mechanism.
    """
    assert output.contribution is not None
    named = {'head': output.head, 'no_direction': output.no_direction}
    if output.road is not None:
        named['road'] = output.road
    named |= {'channel': output.channel, 'contribution': output.contribution}
    named |= {_spatial_output(stage): weights for stage, weights in output.spatial.items()}
    if output.alignment is not None and output.alignment_std is not None:
        named |= {'alignment': output.alignment, 'alignment_std': output.alignment_std}
        registration = output.weights.get('map', {})
        named |= {_registered_output(name): registration[name] for name in REGISTERED if name in registration}
    if output.rings is not None and output.rings_no_direction is not None:
        named |= {'rings': output.rings, 'rings_no_direction': output.rings_no_direction}
    return named


def network_output(named: Mapping[str, Any], config: NetworkConfig) -> NetworkOutput:
    """The inverse of `named_outputs`, of tensors or of arrays. Raises ConfigurationError when an output is missing."""
    stages = (SELECTION, READING, *SPATIAL_NAMES.values(), *(f'stage{i + 1}' for i in range(len(config.widths))))
    try:
        return NetworkOutput(
            head=named['head'], no_direction=named['no_direction'], road=named.get('road'), channel=named['channel'],
            contribution=named['contribution'], alignment=named.get('alignment'),
            alignment_std=named.get('alignment_std'),
            spatial={stage: named[_spatial_output(stage)] for stage in stages if _spatial_output(stage) in named},
            weights={'map': {name: named[_registered_output(name)] for name in REGISTERED
                             if _registered_output(name) in named}},
            rings=named.get('rings'), rings_no_direction=named.get('rings_no_direction'))
    except KeyError as error:
        raise ConfigurationError(f'the exported model has no output {error}: it was made by another version of this '
                                 "package. Make it again with the 'export' command.") from error


def output_name(names: Iterable[str]) -> str:
    """Of the names that a runtime has for one output, that of `named_outputs`; another one where it has none."""
    found = sorted(names, key=lambda name: (name not in OUTPUTS and not name.startswith(SPATIAL_PREFIX), name))
    return found[0]


def _spatial_output(stage: str) -> str:
    return SPATIAL_PREFIX + stage.replace('/', '_')


def _registered_output(name: str) -> str:
    return f'alignment_{name}'


def input_names(config: NetworkConfig) -> tuple[str, ...]:
    """The inputs of an exported file: `lidar`, `map`, and `prior` (B, PRIOR_SIZE) of a network that can be told where
    earlier sweeps put the map.
    """
    from attention_fusion_ros.attention import MECHANISMS  # not at the top: they need torch
    carries = 'prior' in MECHANISMS[config.map_registration['name']].extra_inputs
    return INPUTS if carries else INPUTS[:2]


def nothing_known(like: Tensor) -> Tensor:
    """(B, PRIOR_SIZE) the input `prior` for B sweeps of which nothing is known from before; like: (B, ...)."""
    return like.new_zeros(like.shape[0], PRIOR_SIZE)


def run_arrays(run: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]], inputs: Sequence[str],
               config: NetworkConfig, lidar: Any, map_image: Any, prior: Any) -> NetworkOutput:
    """`Backend.infer` of a runtime that takes arrays by the name of the input and gives them by that of the output.

    inputs: names of the inputs of the file. Arrays are given for arrays, and tensors on the same device for tensors.
    """
    given = dict(zip(INPUTS, (lidar, map_image, prior)))
    feed = {name: np.zeros((len(lidar), PRIOR_SIZE), np.float32) if given[name] is None
            else np.ascontiguousarray(as_array(given[name])) for name in inputs}
    named: Mapping[str, Any] = run(feed)
    if isinstance(lidar, Tensor):
        named = {name: torch.from_numpy(array).to(lidar.device) for name, array in named.items()}
    return network_output(named, config)


def describe(checkpoint: Checkpoint) -> dict[str, str]:
    """What a program needs to read the outputs; travels inside the files as JSON texts. See docs/export.md."""
    from attention_fusion_ros.network.build import lidar_layers
    config = checkpoint.network.config
    return {'kind': json.dumps(KIND), 'version': json.dumps(FORMAT_VERSION),
            'checkpoint': json.dumps(checkpoint.name), 'digest': json.dumps(checkpoint.digest),
            'trained': json.dumps(checkpoint.trained),
            'network': json.dumps(config.to_dict()),
            'calibration': json.dumps(dataclasses.asdict(checkpoint.calibration)),
            'lidar_channels': json.dumps(lidar_layers(config)), 'map_channels': json.dumps(MAP_CHANNELS),
            'head_channels': json.dumps(HEAD_CHANNELS), 'fused_channels': json.dumps(channel_labels(config))}


def read_description(path: Path, texts: Mapping[str, str], inputs: Iterable[str] | None = None) -> Model:
    """The description inside the exported file `path` -> Model. inputs: names of the inputs of the file; None: those
    that its network has, for which torch is imported.

    Raises ConfigurationError when the file was made by another program or for another version of this package.
    """
    try:
        values = {name: outside.parse_json(text) for name, text in texts.items() if name in NEEDED}
    except ValueError as error:
        raise ConfigurationError(f"model '{path}' has an unreadable description ({error}), as files of earlier "
                                 'versions have. Export the .safetensors checkpoint again.') from error
    if values.get('kind') != KIND:
        raise ConfigurationError(f"model '{path}' was not written by the 'export' command of this version of the "
                                 'package. Export the .safetensors checkpoint again.')
    if values.get('version') != FORMAT_VERSION or values.get('head_channels') != list(HEAD_CHANNELS):
        raise ConfigurationError(f"model '{path}' has format version {values.get('version')}, this package reads "
                                 f'version {FORMAT_VERSION}. Export the .safetensors checkpoint again.')
    try:
        calibration = Calibration.from_dict(values['calibration'])
        network = NetworkConfig.from_dict(values['network'], mechanisms=False)  # they fitted when it was exported
        return Model(values['checkpoint'], bool(values['trained']), network, calibration,
                     PRIOR in (input_names(network) if inputs is None else inputs))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"model '{path}' lacks {error} in its description.") from error
