#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/images/frames.png: which frame means what, on the way from a file of roads to the map image.

    python tools/frames_figure.py

Everything is computed as on a vehicle: degrees become metres by `LocalFrame`, the grid is that of the UTM zone there,
and the image is drawn by `MapPainter`. Only the town is made up.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from attention_fusion_ros.geometry import rotation_2d  # noqa: E402
from attention_fusion_ros.maps.build import build_roads  # noqa: E402
from attention_fusion_ros.maps.frames import LocalFrame, Utm, utm_zone  # noqa: E402
from attention_fusion_ros.maps.local_roads import LocalRoads  # noqa: E402
from attention_fusion_ros.maps.osm_file import Ways  # noqa: E402
from attention_fusion_ros.maps.painter import ImageLayout, MapPainter  # noqa: E402
from attention_fusion_ros.report.style import FAINT, INK, LIDAR, MAP, TRUTH, new_figure, png, styled  # noqa: E402

PATH = ROOT / 'docs/images/frames.png'
DATUM = (60.0, 11.9)  # degrees; far enough north and from the middle of its zone for a grid that is visibly turned
ROADS, ROUTE, GRID, ODOM = '#ced4da', '#e03131', '#7048e8', '#d9480f'
STREETS: tuple[tuple[str, list[tuple[float, float]]], ...] = (
    ('primary', [(-60, -80), (40, -30), (95, 35), (120, 110), (125, 200)]),
    ('residential', [(95, 35), (40, 75), (-60, 120)]), ('residential', [(40, 75), (70, 150), (120, 110)]),
    ('residential', [(95, 35), (160, -10), (260, -40)]), ('residential', [(40, -30), (70, -90)]),
    ('residential', [(120, 110), (190, 95), (260, 100)]), ('residential', [(190, 95), (160, -10)]))
ROUTE_M = np.array([(-60, -80), (40, -30), (95, 35), (120, 110), (190, 95)], float)
VEHICLE = (84.0, 22.0, math.atan2(65, 55))  # m, m, rad in the local frame
ODOM_IN_MAP = (-14.0, -57.0, math.radians(158.0))  # odometry started there, with an x axis of its own
ANTENNA, FIX_OFF = (-1.0, 0.0), (5.5, -7.0)  # m in base_link, m in the local frame
LAYOUT = ImageLayout(resolution=0.25, size=(480, 480))


def roads(frame: LocalFrame) -> LocalRoads:
    """The town, with its nodes in degrees as in a file."""
    places = sorted({place for _, street in STREETS for place in street})
    latitudes, longitudes = frame.to_degrees(np.array(places, float))
    refs = np.array([places.index(place) for _, street in STREETS for place in street], np.int64)
    first = np.append(0, np.cumsum([len(street) for _, street in STREETS]))
    tags = tuple({'highway': kind} for kind, _ in STREETS)
    return LocalRoads(build_roads(Ways(refs, first, tags, np.arange(len(places)), latitudes, longitudes, None)), frame)


def axes_of(ax: Axes, pose: tuple[float, float, float], names: tuple[str, str], colour: str, length: float) -> None:
    """The x and the y axis of a frame."""
    x, y, yaw = pose
    for angle, name in zip((yaw, yaw + math.pi / 2), names):
        tip = (x + length * math.cos(angle), y + length * math.sin(angle))
        ax.add_patch(FancyArrowPatch((x, y), tip, arrowstyle='-|>', mutation_scale=11, color=colour, linewidth=1.8,
                                     shrinkA=0, shrinkB=0, zorder=6))
        ax.text(x + 1.22 * (tip[0] - x), y + 1.2 * (tip[1] - y), name, color=colour, fontsize=8.5, ha='center',
                va='center', zorder=7)


def label(ax: Axes, at: tuple[float, float], text: str, colour: str, **options: str) -> None:
    """Text on white, so that it can be read on streets."""
    ax.text(*at, text, color=colour, fontsize=8.5, zorder=8, linespacing=1.25,
            bbox={'facecolor': 'white', 'edgecolor': 'none', 'alpha': 0.85, 'pad': 1.5}, **options)


def draw_ground(ax: Axes, town: LocalRoads) -> None:
    """The local frame from above, with everything that has a place in it."""
    frame = town.frame
    for edge in range(len(town.graph)):
        ax.plot(*town.line(edge).T, color=ROADS, linewidth=0.9 * float(town.graph.widths[edge]),
                solid_capstyle='round', zorder=1)
    ax.plot(*ROUTE_M.T, color=ROUTE, linewidth=2.2, zorder=2)
    zone, north = utm_zone(*DATUM)
    grid = Utm(zone, north)
    origin = grid.to_metres(*DATUM)
    for k in range(-3, 6):
        for along in ((60.0 * k, None), (None, 60.0 * k)):
            ends = np.array([[s if v is None else v for v in along] for s in (-250.0, 350.0)])
            ax.plot(*frame.to_metres(*grid.to_degrees(origin + ends)).T, color=GRID, linewidth=0.7, alpha=0.55,
                    linestyle=(0, (6, 4)), zorder=0)
    turn = math.degrees(grid.convergence(*DATUM))
    label(ax, (-56, 154), f'grid of UTM zone {zone}: here {turn:.1f}° off true north', GRID)

    axes_of(ax, (0.0, 0.0, 0.0), ('x: east', 'y: north'), INK, 40.0)
    label(ax, (-4, -4), 'map\norigin: the datum', INK, ha='right', va='top')
    axes_of(ax, ODOM_IN_MAP, ('x', 'y'), ODOM, 22.0)
    label(ax, (-8, -68), 'odom: where odometry\nstarted, turned as it likes', ODOM, va='top')
    axes_of(ax, VEHICLE, ('x: ahead', 'y: left'), TRUTH, 34.0)
    label(ax, (52, 8), 'base_link', TRUTH)
    turned = rotation_2d(VEHICLE[2])
    outline = np.array([(4.5, 0.0), (-4.0, 3.2), (-4.0, -3.2)]) @ turned.T + VEHICLE[:2]
    ax.add_patch(Polygon(outline, facecolor=TRUTH, edgecolor='white', zorder=7))
    ax.plot(*np.array([ODOM_IN_MAP[:2], (40, -30), VEHICLE[:2]]).T, color=ODOM, linestyle=':', linewidth=1.6, zorder=3)

    fix = np.array(VEHICLE[:2]) + turned @ ANTENNA + FIX_OFF
    ax.add_patch(Ellipse(tuple(fix), 16, 16, facecolor='none', edgecolor=LIDAR, linewidth=1.2, zorder=5))
    ax.plot(*fix, marker='+', color=LIDAR, markersize=9, markeredgewidth=1.8, zorder=6)
    label(ax, (fix[0] + 11, fix[1] - 6), 'fix: the antenna,\nmetres off', LIDAR, va='center')
    half = LAYOUT.resolution * LAYOUT.size[0] / 2
    corners = np.array([(half, half), (half, -half), (-half, -half), (-half, half)]) @ turned.T + VEHICLE[:2]
    ax.add_patch(Polygon(corners, facecolor='none', edgecolor=MAP, linewidth=1.4, zorder=5))
    label(ax, (171, 30), 'edge of the\nmap image', MAP, va='center')
    ax.plot(*ROUTE_M[-1], marker='*', color=ROUTE, markersize=13, zorder=6)
    label(ax, (190, 108), 'goal', ROUTE, ha='center')
    ax.set(xlim=(-70, 222), ylim=(-98, 166), aspect='equal', xlabel='east of the datum [m]',
           ylabel='north of the datum [m]', title='On the ground')


def draw_image(ax: Axes, town: LocalRoads) -> None:
    """The image that is drawn there."""
    image = MapPainter(town, LAYOUT).draw(VEHICLE, ROUTE_M)
    columns, rows = LAYOUT.size
    ax.imshow(image, extent=(0, columns, rows, 0))
    anchor = np.array(LAYOUT.anchor) * LAYOUT.size
    for step, name, beside in (((0.0, -100.0), 'x: ahead', (-68.0, -84.0)), ((-100.0, 0.0), 'y: left', (-135.0, 0.0))):
        ax.annotate('', anchor + step, anchor, arrowprops={'arrowstyle': '-|>', 'color': '#4dabf7', 'linewidth': 2.0})
        ax.text(*(anchor + beside), name, color='#4dabf7', fontsize=8.5, ha='center', va='center',
                fontweight='bold')
    ax.plot(*anchor, marker='o', color='#4dabf7', markersize=6)
    ax.text(anchor[0] + 14, anchor[1] + 26, 'anchor: base_link', color='white', fontsize=8.5)
    ax.set(xticks=(0, 240, 480), yticks=(0, 240, 480), ylabel='row', title='The map image, heading up',
           xlabel=f'column\n\n{LAYOUT.resolution:g} m a pixel; white: road, red: route')
    ax.grid(False)


CHAIN = (('earth', 'WGS84: latitude,\nlongitude', INK), ('map', 'm east and north\nof the datum', INK),
         ('odom', 'as odometry has it:\nsmooth, drifts', ODOM), ('base_link', 'the vehicle:\nahead, left', TRUTH),
         ('LiDAR, antenna', 'as they are\nmounted', LIDAR))
LINKS = ('datum', 'map_source', 'odometry', '/tf_static')  # who says where a frame is in the one before


def draw_chain(ax: Axes) -> None:
    """The frames in a row, and who says where each is in the one before."""
    width, gap = 14.0, (100 - 5 * 14.0) / 4
    ax.set(xlim=(0, 100), ylim=(0, 10))
    ax.axis('off')
    for k, (name, meaning, colour) in enumerate(CHAIN):
        left = k * (width + gap)
        ax.add_patch(FancyBboxPatch((left + 0.4, 0.6), width - 0.8, 8.8, boxstyle='round,pad=0.3', facecolor='white',
                                    edgecolor=colour, linewidth=1.4))
        ax.text(left + width / 2, 7.6, name, ha='center', va='center', color=colour, fontweight='bold', fontsize=9.5)
        ax.text(left + width / 2, 3.3, meaning, ha='center', va='center', color=FAINT, fontsize=7.8)
        if k:
            ax.add_patch(FancyArrowPatch((left - gap + 0.3, 4.6), (left - 0.3, 4.6), arrowstyle='-|>',
                                         mutation_scale=11, color=FAINT, shrinkA=0, shrinkB=0))
            ax.text(left - gap / 2, 5.4, LINKS[k - 1], ha='center', va='bottom', color=INK, fontsize=7.8)


def draw() -> bytes:
    """The picture, as PNG."""
    town = roads(LocalFrame(*DATUM))
    with styled():
        figure = new_figure(10.0, 6.1)
        chain, below = figure.subfigures(2, 1, height_ratios=(0.15, 1.0))
        draw_chain(chain.subplots())
        ground, image = below.subplots(1, 2, width_ratios=(1.6, 1.0))
        draw_ground(ground, town)
        draw_image(image, town)
    return png(figure, dpi=120)


if __name__ == '__main__':
    PATH.write_bytes(draw())
    print(PATH)
