# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`export`: write the network for other runtimes, ONNX and torch.export, and check that the answers are the same."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli

if TYPE_CHECKING:
    from attention_fusion_ros.backends.export import Exported

EXAMPLES = """\
export --checkpoint untrained --allow-untrained --format pt2 --out out/untrained
export --out out/exported
export --checkpoint runs/mine/checkpoint.safetensors --format onnx --out out/exported
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `export`."""
    parser = cli.parser('export', 'Write the network as ONNX and as a torch.export program (.pt2), for any batch '
                        'size, and compare their outputs with those of the network itself on random inputs. '
                        'Inputs: lidar (B, 5, H, W), map (B, 3, H, W); outputs: head, no_direction, road, channel, '
                        'contribution, spatial_<stage>, alignment and alignment_std where the map is registered. The '
                        'settings to decode them travel inside the files. Node and commands run the .onnx file with '
                        '-p backend:=onnxruntime (or openvino) -p checkpoint:=FILE; docs/export.md tells how to '
                        'decode it elsewhere.', EXAMPLES)
    parser.add_argument('--checkpoint', default='', help='a .safetensors file, or untrained; default: the shipped one')
    parser.add_argument('--out', type=cli.output_folder, required=True, metavar='DIR', help='where the files go')
    parser.add_argument('--format', choices=('onnx', 'pt2', 'both'), default='both', help='default: %(default)s')
    parser.add_argument('--allow-untrained', action='store_true', help='needed with --checkpoint untrained')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every file gives what the network gives, 1 when one does not, 2 for mistakes."""
    options = options_parser().parse_args(arguments)
    return cli.run(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    from attention_fusion_ros.backends.export import export
    from attention_fusion_ros.network import checkpoint as checkpoints
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
    from attention_fusion_ros.backends.export import BATCHES, TOLERANCE
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
