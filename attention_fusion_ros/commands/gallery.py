# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`gallery`: a sheet of simulated scenes, next to real sweeps where there are any, to see what differs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation.sensors.lidar import PRESETS
from attention_fusion_ros.simulation.world.profile import PROFILES

if TYPE_CHECKING:
    import numpy as np

    from attention_fusion_ros.datasets.drives import Drive

EXAMPLES = """\
gallery --out out/scenes.png
gallery --classes t x roundabout --per-class 4 --lidar hdl_64e --out out/junctions.png
"""


def options_parser() -> argparse.ArgumentParser:
    """The options of `gallery`."""
    parser = cli.parser('gallery', 'Draw a sheet of simulated scenes, with real sweeps below if there are any, to '
                        'see what differs.', EXAMPLES)
    parser.add_argument('--out', type=cli.output_file, default='gallery.png', help='the picture (default: %(default)s)')
    parser.add_argument('--classes', nargs='+', default=None, metavar='CLASS',
                        help='scene classes, for example t x roundabout; osm needs --osm (default: all others)')
    parser.add_argument('--per-class', type=int, default=2, help='scenes per class (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first scene (default: %(default)s)')
    parser.add_argument('--profile', choices=tuple(PROFILES), default='v1',
                        help='kinds of places and sensors: v2 has medians, parked cars, driveways and faulty sensors, '
                        'see docs/training.md (default: %(default)s)')
    parser.add_argument('--lidar', choices=('random', *PRESETS), default='random', help='sensor (default: %(default)s)')
    parser.add_argument('--osm', type=Path, metavar='FILE',
                        help='OpenStreetMap extract (.osm, .osm.gz, .osm.pbf; needs osmium) for class osm')
    parser.add_argument('--real', type=Path, metavar='DIR', help='folder of recorded drives, some of whose sweeps are '
                        'drawn below the simulated ones')
    parser.add_argument('--columns', type=int, default=2, help='scenes side by side (default: %(default)s)')
    parser.add_argument('--size', type=int, default=320, help='width of a tile in pixels (default: %(default)s)')
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = options_parser().parse_args(arguments)
    return cli.run(lambda: draw(options))


def draw(options: argparse.Namespace) -> int:
    """Draw the sheet as the options say. Raises ConfigurationError."""
    import cv2

    from attention_fusion_ros.datasets import drives
    from attention_fusion_ros.report import scene_gallery
    from attention_fusion_ros.simulation.world.profile import profile_of
    from attention_fusion_ros.utils import atomic

    if min(options.per_class, options.columns, options.size) < 1:
        raise ConfigurationError('--per-class, --columns and --size must be at least 1')
    if not cv2.haveImageWriter(str(options.out)):
        raise ConfigurationError(f"--out '{options.out}' is no name of a picture: end it in .png or .jpg")
    pictures = []
    classes = options.classes or list(profile_of(options.profile).class_shares)
    for scene_class in cli.progress(classes, desc='scenes', unit=' classes'):
        pictures += [_scene(options, scene_class, options.seed + i) for i in range(options.per_class)]
    simulated = len(pictures)
    if options.real:
        for folder in drives.find_drives(options.real):
            pictures += real_pictures(drives.load_drive(folder), options.size)
    atomic.save_picture(options.out, scene_gallery.sheet(pictures, options.columns))
    print(f'{options.out}: {simulated} simulated scenes, {len(pictures) - simulated} real sweeps')
    return 0


def _scene(options: argparse.Namespace, scene_class: str, seed: int) -> np.ndarray:
    import numpy as np

    from attention_fusion_ros.report import scene_gallery
    from attention_fusion_ros.simulation.sensors.lidar import SENSOR_SHARES, random_lidar, with_faults
    from attention_fusion_ros.simulation.world.generate import generate_world
    from attention_fusion_ros.simulation.world.profile import profile_of

    profile = profile_of(options.profile)
    world = generate_world(seed, scene_class, osm=options.osm, profile=profile)
    if options.lidar == 'random':
        sensor = random_lidar(np.random.default_rng([seed, 9]), shares=SENSOR_SHARES[profile.sensors])
        if profile.faults:
            sensor = with_faults(np.random.default_rng([seed, 10]), sensor)
    else:
        sensor = PRESETS[options.lidar]()
    return scene_gallery.scene_picture(world, sensor, options.size)


def real_pictures(drive: Drive, size: int, count: int = 2) -> list[np.ndarray]:
    """Draw sweeps spread over a drive: no plan, the cloud and the map image, with the branches where they are known.

    size: edge of a tile in pixels.
    count: number of sweeps.
    """
    import numpy as np

    from attention_fusion_ros.datasets import drives
    from attention_fusion_ros.geometry import transform_points
    from attention_fusion_ros.report import scene_gallery
    from attention_fusion_ros.simulation.truth.branches import Truth

    pictures = []
    for index in np.unique(np.linspace(0, len(drive.sweeps) - 1, count + 2).astype(int)[1:-1]):
        sweep = drives.read_sweep(drive.sweeps[index])
        xyz = transform_points(drive.T_base_sensor, sweep.xyz)
        image = drives.map_picture(drive, sweep.stamp_ns, 0.0, drives.MapOffset())
        branches = drive.truth[index].get('branches', {}).get('20', ())
        truth = Truth(tuple((float(b), float(h)) for b, h in branches), None, '')
        tiles = [np.zeros((size, size, 3), np.uint8), scene_gallery.sweep_tile(xyz, size),
                 scene_gallery.map_tile(image, drives.PIXEL, (0.5, 0.5), size)]
        for tile in tiles[1:]:
            scene_gallery.draw_truth(tile, truth)
        titles = f'real: {drive.name}, sweep {index}', f'{drive.sensor}, {len(xyz)} points', 'map image'
        pictures.append(scene_gallery.row_of_tiles(tiles, titles))
    return pictures


if __name__ == '__main__':
    sys.exit(main())
