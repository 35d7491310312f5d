# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Print what a file of roads costs: reading it, its cache, the index, a route and an image.

    python tools/map_figures.py kaiserslautern.osm.gz
    python tools/map_figures.py --synthetic 2000000 region.osm.pbf   # makes the file first

Times are processor seconds of one thread, with the wall time beside them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from attention_fusion_ros.maps.frames import LocalFrame
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.painter import MapPainter
from attention_fusion_ros.maps.route import RoutePlanner


@contextmanager
def timed(what: str, share: int = 1, unit: str = 's') -> Iterator[None]:
    """Print the processor and wall time of a block, divided by `share`."""
    factor = {'s': 1.0, 'ms': 1000.0}[unit] / share
    processor, wall = time.process_time(), time.perf_counter()
    yield
    print(f'{what:<28} {(time.process_time() - processor) * factor:8.2f} {unit:<2}'
          f'  (wall {(time.perf_counter() - wall) * factor:.2f} {unit})')


def synthetic(path: Path, nodes: int) -> None:
    """Write a region with `nodes` nodes, all of them on streets that wind, joined every ten nodes or so."""
    import osmium
    from osmium.osm.mutable import Node, Way
    rng = np.random.default_rng(1)
    side = int(math.sqrt(nodes))
    places = np.stack(np.meshgrid(np.arange(side), np.arange(nodes // side)), axis=-1) * (3e-4, 2e-4) + (7.5, 49.0)
    places += rng.uniform(-4e-5, 4e-5, places.shape)
    with osmium.SimpleWriter(str(path), overwrite=True) as writer:
        for number, (lon, lat) in enumerate(places.reshape(-1, 2).tolist()):
            writer.add_node(Node(id=number + 1, location=(lon, lat)))
        ids = np.arange(len(places) * side).reshape(len(places), side) + 1
        number = 0
        for row in ids:
            for start in range(0, side - 1, 20):
                number += 1
                writer.add_way(Way(id=number, nodes=row[start:start + 21].tolist(),
                                   tags={'highway': 'residential', 'name': f'Street {number % 5000}'}))
        for column in ids.T[::10]:
            for start in range(0, len(column) - 1, 20):
                number += 1
                writer.add_way(Way(id=number, nodes=column[start:start + 21].tolist(),
                                   tags={'highway': 'tertiary', 'oneway': ('yes', 'no', '-1')[number % 3]}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path)
    parser.add_argument('--synthetic', type=int, metavar='NODES', help='write the file first')
    arguments = parser.parse_args()
    if arguments.synthetic:
        synthetic(arguments.file, arguments.synthetic)
    with tempfile.TemporaryDirectory() as cache:
        with timed('read the first time'):
            graph = load_roads(arguments.file, cache=cache)
        with timed('start from the cache'):
            graph = load_roads(arguments.file, cache=cache)
            south, west, north, east = graph.bounds
            roads = LocalRoads(graph, LocalFrame((south + north) / 2, (west + east) / 2))
        size = sum(path.stat().st_size for path in Path(cache).iterdir())
    print(f'{len(graph.latitudes)} vertices, {len(graph)} edges, {graph.nodes} nodes, cache {size / 1e6:.0f} MB')
    with timed('prepare routes'):
        planner = RoutePlanner(roads)
    rng = np.random.default_rng(0)
    while True:
        a, b = rng.choice(len(graph), 2)
        try:
            with timed('route'):
                route = planner.plan([roads.line(b).mean(axis=0)], roads.line(a).mean(axis=0))
        except ValueError as error:
            print(f'  {error}')
            continue
        if len(route.xy) > 20:
            break
    d = np.diff(route.xy, axis=0)
    poses = [(float(x), float(y), math.atan2(dy, dx)) for (x, y), (dx, dy) in zip(route.xy[:-1], d)][:300]
    painter = MapPainter(roads)
    with timed(f'image {painter.layout.size[0]} x {painter.layout.size[1]}', len(poses), 'ms'):
        for pose in poses:
            painter.draw(pose, route.xy)


if __name__ == '__main__':
    main()
