#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
r"""Cuts a small piece out of an OpenStreetMap file: every way with `highway` that touches a box, whole, and its nodes.

    tools/cut_extract.py boston_seaport.osm.gz attention_fusion_ros/maps/data/boston_seaport.osm.gz \
        --box 42.3400 -71.0530 42.3535 -71.0245

That is how the extract was made that ships with the package. Equal input gives equal bytes. What is written says whose
data it is and under which licence, as the licence asks for.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

NOTICE = ('Contains information from OpenStreetMap (https://www.openstreetmap.org/copyright), (c) OpenStreetMap '
          'contributors, which is made available here under the Open Database License (ODbL) 1.0, '
          'https://opendatacommons.org/licenses/odbl/1-0/. Cut out of a larger extract: ways with a highway tag that '
          'touch the bounds, and their nodes; nothing else was changed.')
HEAD = {'version': '0.6', 'generator': 'attention_fusion_ros tools/cut_extract.py',
        'copyright': 'OpenStreetMap and contributors', 'attribution': 'https://www.openstreetmap.org/copyright',
        'license': 'https://opendatacommons.org/licenses/odbl/1-0/'}


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='.osm, .osm.gz or .osm.pbf')
    parser.add_argument('target', type=Path, help='.osm.gz to write')
    parser.add_argument('--box', type=float, nargs=4, required=True, metavar=('SOUTH', 'WEST', 'NORTH', 'EAST'),
                        help='degrees')
    options = parser.parse_args()
    ways, places = roads_in(options.source, options.box)
    if not ways:
        print(f"error: '{options.source}' holds no roads within {options.box}", file=sys.stderr)
        return 2
    options.target.parent.mkdir(parents=True, exist_ok=True)
    # Without a time and a name in its head, the archive depends on its content only.
    options.target.write_bytes(gzip.compress(written(ways, places, options.box).encode(), 9, mtime=0))
    print(f'{options.target}: {len(ways)} ways, {len(places)} nodes, {options.target.stat().st_size} bytes')
    return 0


Way = tuple[int, tuple[int, ...], dict[str, str]]  # id, ids of nodes, tags


def roads_in(source: Path, box: tuple[float, float, float, float]) -> tuple[list[Way], dict[int, tuple[float, float]]]:
    """Ways with a node in the box, and latitude and longitude of all their nodes, by id."""
    import osmium
    south, west, north, east = box
    ways: list[Way] = []
    places: dict[int, tuple[float, float]] = {}
    roads: Any = osmium.FileProcessor(str(source), osmium.osm.NODE | osmium.osm.WAY).with_locations().with_filter(
        osmium.filter.EntityFilter(osmium.osm.WAY)).with_filter(osmium.filter.KeyFilter('highway'))
    for way in roads:
        nodes = {n.ref: (n.lat, n.lon) for n in way.nodes if n.location.valid()}
        if any(south <= lat <= north and west <= lon <= east for lat, lon in nodes.values()):
            ways.append((way.id, tuple(n.ref for n in way.nodes if n.ref in nodes), dict(way.tags)))
            places.update(nodes)
    return sorted(ways), places


def written(ways: list[Way], places: dict[int, tuple[float, float]], box: tuple[float, float, float, float]) -> str:
    """The piece as OpenStreetMap XML."""
    south, west, north, east = box
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<!-- {NOTICE} -->',
             '<osm ' + ' '.join(f'{key}={quoteattr(value)}' for key, value in HEAD.items()) + '>',
             f'<bounds minlat="{south:.7f}" minlon="{west:.7f}" maxlat="{north:.7f}" maxlon="{east:.7f}"/>']
    lines += [f'<node id="{number}" lat="{lat:.7f}" lon="{lon:.7f}"/>' for number, (lat, lon) in sorted(places.items())]
    for number, refs, tags in ways:
        lines.append(f'<way id="{number}">' + ''.join(f'<nd ref="{ref}"/>' for ref in refs)
                     + ''.join(f'<tag k={quoteattr(k)} v={quoteattr(v)}/>' for k, v in sorted(tags.items())) + '</way>')
    return '\n'.join([*lines, '</osm>', ''])


if __name__ == '__main__':
    sys.exit(main())
