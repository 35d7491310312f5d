# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`export`: write the network for other runtimes, ONNX and torch.export, and check that the answers are the same."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from attention_fusion_ros.bev import lidar as lidar_features
from attention_fusion_ros.bev import map_image as map_features
from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.checkpoint import Checkpoint
from attention_fusion_ros.network.head import HEAD_CHANNELS
from attention_fusion_ros.network.model import FusionNetwork

EXAMPLES = """\
  export --out exported                                     the shipped network as .onnx and .pt2
  export --checkpoint out/train/best.safetensors --format onnx --out exported
  export --checkpoint untrained --allow-untrained --out exported --format pt2
"""
INPUTS = ('lidar', 'map')
TOLERANCE = 1e-4  # the largest difference to eager execution that still counts as the same
BATCHES = (1, 2)  # the exported batch size is free: more than one is tried


class Exportable(nn.Module):
    """The network with a plain tuple of tensors as its output, in the order of `output_names`."""

    def __init__(self, network: FusionNetwork):
        super().__init__()
        self.network = network

    def forward(self, lidar: Tensor, map: Tensor) -> tuple[Tensor, ...]:  # noqa: A002 - the name seen in the file
        out = self.network(lidar, map)
        alignment = () if out.alignment is None else (out.alignment, out.alignment_std)
        return (out.head, out.no_direction, out.road, out.channel, *out.spatial.values(), *alignment)


@dataclass(frozen=True)
class Exported:
    """One file and how it compares."""

    path: Path
    differences: dict[str, float] | None  # output -> largest absolute difference to eager; None: could not be run
    note: str = ''  # why it could not be run


def random_inputs(network: FusionNetwork, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Values in 0..1, as in the BEV grids: lidar (B, 5, H, W), map (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    cells = network.config.cells
    return tuple(torch.rand(batch, len(names), cells, cells, generator=generator)
                 for names in (lidar_features.CHANNELS, map_features.CHANNELS))


def output_names(network: FusionNetwork) -> list[str]:
    """`head`, `no_direction`, `road`, `channel`, one `spatial_<stage>` for each stage with spatial attention, and
    `alignment`, `alignment_std` of a network that registers the map.
    """
    with torch.inference_mode():
        out = network(*random_inputs(network, 1, 0))
    return ['head', 'no_direction', 'road', 'channel', *(f"spatial_{name.replace('/', '_')}" for name in out.spatial),
            *([] if out.alignment is None else ['alignment', 'alignment_std'])]


def description(checkpoint: Checkpoint) -> dict[str, str]:
    """What a program needs to read the outputs; travels inside the files as JSON texts."""
    return {'checkpoint': checkpoint.name, 'trained': json.dumps(checkpoint.trained),
            'network': json.dumps(checkpoint.network.config.to_dict()),
            'calibration': json.dumps(dataclasses.asdict(checkpoint.calibration)),
            'lidar_channels': json.dumps(lidar_features.CHANNELS), 'map_channels': json.dumps(map_features.CHANNELS),
            'head_channels': json.dumps(HEAD_CHANNELS),
            'fused_channels': json.dumps(checkpoint.network.channel_labels())}


def write_pt2(program: torch.export.ExportedProgram, path: Path, about: dict[str, str]) -> None:
    """The program as torch.export.load reads it; the description as extra files."""
    torch.export.save(program, str(path), extra_files={f'{name}.json': text for name, text in about.items()})


def run_pt2(path: Path, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Load the file and run it."""
    with torch.inference_mode():
        return list(torch.export.load(str(path)).module()(*inputs))


def write_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], names: list[str]) -> None:
    """One file, weights inside. Raises ConfigurationError when the packages for it are missing."""
    missing = [m for m in ('onnx', 'onnxscript') if importlib.util.find_spec(m) is None]
    if missing:
        raise ConfigurationError(f"ONNX export needs {' and '.join(missing)}: pip install {' '.join(missing)}, or use "
                                 '--format pt2')
    onnx_program = torch.onnx.export(program, input_names=list(INPUTS), output_names=names, dynamo=True, verbose=False)
    onnx_program.model.metadata_props.update(about)
    onnx_program.save(str(path), external_data=False)


def run_onnx(path: Path, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Run the file in onnxruntime on the CPU."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return [torch.from_numpy(a) for a in
            session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs)})]


def differences(path: Path, run, network: FusionNetwork, names: list[str]) -> dict[str, float]:
    """Run a file and eager on random inputs, for every size in BATCHES -> output name -> largest difference."""
    largest = dict.fromkeys(names, 0.0)
    for batch in BATCHES:
        inputs = random_inputs(network, batch, seed=batch)
        with torch.inference_mode():
            expected = Exportable(network)(*inputs)
        found = run(path, inputs)
        if [tuple(f.shape) for f in found] != [tuple(e.shape) for e in expected]:
            raise ConfigurationError(f'{path.name} gives other shapes than the network for batch size {batch}')
        for name, ours, theirs in zip(names, expected, found):
            difference = float((ours - theirs).abs().max())
            largest[name] = max(largest[name], difference if difference == difference else float('inf'))
    return largest


def export(checkpoint: Checkpoint, folder: Path, formats: tuple[str, ...]) -> Iterator[Exported]:
    """Write and check each of `formats` ('onnx', 'pt2'). Raises ConfigurationError when a package is missing."""
    network = checkpoint.network.float().eval()
    if network.config.temporal['name'] != 'none':
        raise ConfigurationError(f"checkpoint '{checkpoint.name}' looks at earlier sweeps (network setting temporal), "
                                 'which the exported files cannot keep for it. Export a network without.')
    names, about = output_names(network), description(checkpoint)
    batch = {0: torch.export.Dim('batch', min=1, max=64)}
    folder.mkdir(parents=True, exist_ok=True)
    with quiet(), torch.no_grad():
        # Traced with two sweeps: a batch of one would be taken for a constant.
        program = torch.export.export(Exportable(network), random_inputs(network, 2, 0), dynamic_shapes=(batch, batch),
                                      strict=False)
    for kind in formats:
        path = folder / f'{checkpoint.name}.{kind}'
        with quiet():
            if kind == 'pt2':
                write_pt2(program, path, about)
                yield Exported(path, differences(path, run_pt2, network, names))
                continue
            write_onnx(program, path, about, names)
        if importlib.util.find_spec('onnxruntime') is None:
            yield Exported(path, None, 'onnxruntime is not installed (pip install onnxruntime)')
        else:
            yield Exported(path, differences(path, run_onnx, network, names))


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters speak of their own future; that is not about this network."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)


def options_parser() -> argparse.ArgumentParser:
    """The options of `export`."""
    parser = cli.parser('export', 'Write the network as ONNX and as a torch.export program (.pt2), for any batch '
                        'size, and compare their outputs with those of the network itself on random inputs. '
                        'Inputs: lidar (B, 5, H, W), map (B, 3, H, W); outputs: head, no_direction, road, channel, '
                        'spatial_<stage>, alignment and alignment_std where the map is registered. The settings to '
                        'read them travel inside the files.', EXAMPLES)
    parser.add_argument('--checkpoint', default='', help='a .safetensors file, or untrained; default: the shipped one')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='where the files go')
    parser.add_argument('--format', choices=('onnx', 'pt2', 'both'), default='both', help='default: %(default)s')
    parser.add_argument('--allow-untrained', action='store_true', help='needed with --checkpoint untrained')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every file gives what the network gives, 1 when one does not, 2 for mistakes."""
    options = options_parser().parse_args(arguments)
    return cli.run(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    checkpoint = checkpoints.resolve(options.checkpoint, options.allow_untrained)
    formats = ('onnx', 'pt2') if options.format == 'both' else (options.format,)
    parameters = sum(p.numel() for p in checkpoint.network.parameters())
    print(f'{checkpoint.name}: {parameters:,} parameters')
    if not checkpoint.trained:
        print('WARNING: untrained weights: the answers mean nothing.', file=sys.stderr)
    good = True
    for done in list(cli.progress(export(checkpoint, options.out, formats), total=len(formats), unit=' files',
                                  desc='export')):
        good &= report(done)
    return 0 if good else 1


def report(done: Exported) -> bool:
    """Print one file; whether it may be used."""
    print(f'{done.path}  {done.path.stat().st_size / 1e6:.2f} MB')
    if done.differences is None:
        print(f'  not compared with the network: {done.note}')
        return True
    width = max(map(len, done.differences))
    print(f"  largest absolute difference to the network, batches of {' and '.join(map(str, BATCHES))}:")
    for name, value in done.differences.items():
        print(f"    {name:<{width}}  {value:.1e}{'' if value <= TOLERANCE else f'  MORE THAN {TOLERANCE:g}'}")
    return max(done.differences.values()) <= TOLERANCE


if __name__ == '__main__':
    sys.exit(main())
