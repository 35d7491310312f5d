# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`gallery`: a sheet of simulated scenes, next to real sweeps where there are any, to see what differs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from attention_fusion_ros.commands import cli
from attention_fusion_ros.datasets import drives
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.simulation import gallery
from attention_fusion_ros.simulation.sensors.lidar import PRESETS, random_lidar
from attention_fusion_ros.simulation.truth.branches import Truth
from attention_fusion_ros.simulation.world.generate import CLASS_SHARES, generate_world

EXAMPLES = """  attention_fusion_ros gallery --out scenes.png
  attention_fusion_ros gallery --classes t x roundabout --per-class 4 --lidar hdl_64e --real ../shared/data"""


def main(argv: list[str] | None = None) -> int:
    """Draw the sheet; exit status 0, or 2 when the arguments cannot be used."""
    parser = cli.parser('gallery', __doc__.split(':', 1)[1].strip(), EXAMPLES)
    parser.add_argument('--out', type=Path, default=Path('gallery.png'), help='the picture (default: %(default)s)')
    parser.add_argument('--classes', nargs='+', default=list(CLASS_SHARES), metavar='CLASS',
                        help='scene classes; osm needs --osm (default: all others)')
    parser.add_argument('--per-class', type=int, default=2, help='scenes a class (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first scene (default: %(default)s)')
    parser.add_argument('--lidar', choices=('random', *PRESETS), default='random', help='sensor (default: %(default)s)')
    parser.add_argument('--osm', type=Path, help='OpenStreetMap extract (.osm, .osm.gz) for class osm')
    parser.add_argument('--real', type=Path, help='folder of real drives: some of their sweeps are drawn below')
    parser.add_argument('--columns', type=int, default=2, help='scenes side by side (default: %(default)s)')
    parser.add_argument('--size', type=int, default=320, help='edge of a tile in pixels (default: %(default)s)')
    options = parser.parse_args(argv)

    def body() -> int:
        if min(options.per_class, options.columns, options.size) < 1:
            raise ConfigurationError('--per-class, --columns and --size must be at least 1')
        seeds = range(options.seed, options.seed + options.per_class)
        jobs = [(scene_class, seed) for scene_class in options.classes for seed in seeds]
        pictures = []
        for scene_class, seed in cli.progress(jobs, desc='scenes', unit='scene'):
            world = generate_world(seed, scene_class, osm=options.osm)
            sensor = (random_lidar(np.random.default_rng([seed, 9])) if options.lidar == 'random'
                      else PRESETS[options.lidar]())
            pictures.append(gallery.scene_picture(world, sensor, options.size))
        if options.real:
            for folder in drives.find_drives(options.real):
                pictures += real_pictures(drives.load_drive(folder), options.size)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(options.out), gallery.sheet(pictures, options.columns)):
            raise ConfigurationError(f"'{options.out}' cannot be written as a picture")
        print(f'{options.out}: {len(jobs)} simulated scenes, {len(pictures) - len(jobs)} real sweeps')
        return 0
    return cli.run(body)


def real_pictures(drive: drives.Drive, size: int, count: int = 2) -> list[np.ndarray]:
    """Sweeps spread over a drive: the cloud twice as seen, then its map, with the branches where a map tells them."""
    pictures = []
    for index in np.unique(np.linspace(0, len(drive.sweeps) - 1, count + 2).astype(int)[1:-1]):
        with np.load(drive.sweeps[index]) as z:
            points, stamp = z['xyz_mm'].T / 1000.0, int(z['stamp_ns'])
        xyz = points @ drive.T_base_sensor[:3, :3].T + drive.T_base_sensor[:3, 3]
        image = drives.map_picture(drive, stamp, 0.0, drives.MapError())
        branches = drive.truth[index].get('branches', {}).get('20', ())
        answer = Truth(tuple((float(b), float(h)) for b, h in branches), None, '')
        tiles = [np.zeros((size, size, 3), np.uint8), gallery.sweep_tile(xyz, size),
                 gallery.map_tile(image, drives.PIXEL, (0.5, 0.5), size)]
        for tile in tiles[1:]:
            gallery.draw_truth(tile, answer)
        gallery.label(tiles[0], f'real: {drive.name}, sweep {index}')
        gallery.label(tiles[1], f'{drive.sensor}, {len(xyz)} points')
        pictures.append(np.hstack(tiles))
    return pictures
