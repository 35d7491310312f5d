# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""overview.png of the demo: the way through the city, the map before and after correction, and how far it was off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from demo_report import DemoSweep

from attention_fusion_ros.maps.image_layout import ImageLayout
from attention_fusion_ros.maps.odometry_track import Pose2
from attention_fusion_ros.maps.painter import MapPainter
from attention_fusion_ros.simulation.city_drive import CityDrive
from attention_fusion_ros.simulation.sensors.gnss import FIX
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.visualization.lettering import draw_fitted, draw_text, text_width, wrapped

WIDTH, HEIGHT, MARGIN = 1500, 1000, 24
MAP = (MARGIN, 96, 720, 530)  # left, top, width, height
SQUARE = 340
CHART = (MARGIN, 712, WIDTH - 2 * MARGIN, 240)
# BGR; told apart with any colour vision by lightness as well.
PAPER, INK, FAINT = (250, 250, 250), (45, 40, 40), (150, 145, 145)
ROAD, ROUTE, TRUE, FIXES, PLACED = (214, 208, 205), (60, 60, 225), (60, 50, 50), (30, 140, 250), (190, 110, 20)
POINT, STRUCTURE_M = (120, 230, 250), (0.3, 3.5)  # heights above the ground that are drawn
REACH_M = 30.0  # half of what the squares show
WITHIN_M = 45.0  # around the way, on the map


def write(path: Path, drive: CityDrive, sweeps: Sequence[DemoSweep], alone: Sequence[Pose2 | None],
          placed: Mapping[int, Pose2], track: np.ndarray, note: str = '') -> Path:
    """Draw it.

    alone: for each sweep of the drive, where fixes and odometry alone place the vehicle. placed: sweep -> where
    map_source had it; track: (N, 2) m, the same at all times. note: where the corrections come from.
    """
    image: np.ndarray = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    draw_text(image, 'From a file of roads and a position fix to a map that fits', MARGIN, 44, 19, INK)
    draw_text(image, f'{drive.route.length:.0f} m through real streets, simulated sensors; no map was drawn by hand',
              MARGIN, 74, 11, FAINT)
    _city(image, drive, sweeps, track)
    shown = worth_showing(sweeps, placed)
    if shown is not None:
        left = MAP[0] + MAP[2] + 32
        texts = ('1  The receiver alone places the map',
                 '2  Corrected by map alignments' + (' of a stand-in' if 'stand-in' in note else ''))
        pairs = (alone[shown.index], shown.map_before), (placed[shown.index], shown.map_after)
        for k, (pose, error) in enumerate(pairs):
            if pose is not None and error is not None:
                _square(image, (left + k * (SQUARE + 24), MAP[1] + 22), drive, shown, pose, texts[k], error)
        _explain(image, left, MAP[1] + SQUARE + 86, shown, note)
    _chart(image, sweeps, shown)
    draw_text(image, 'Map data (c) OpenStreetMap contributors, openstreetmap.org/copyright', MARGIN, HEIGHT - 14, 9,
              FAINT)
    atomic.save_picture(path, image)
    return path


def worth_showing(sweeps: Sequence[DemoSweep], placed: Mapping[int, Pose2]) -> DemoSweep | None:
    """A typical sweep: its correction is the median one of those at junctions, or of all where there are none."""
    known = [s for s in sweeps if s.map_before and s.map_after and s.index in placed]
    directed = [s for s in known if s.truth.direction is not None]  # not at the end of the route
    junctions = [s for s in directed if len(s.truth.branches) > 2]
    chosen = sorted(junctions or directed or known, key=_gain)
    return chosen[len(chosen) // 2] if chosen else None


def _gain(sweep: DemoSweep) -> float:
    assert sweep.map_before is not None and sweep.map_after is not None
    return sweep.map_before[0] - sweep.map_after[0]


def _city(image: np.ndarray, drive: CityDrive, sweeps: Sequence[DemoSweep], track: np.ndarray) -> None:
    left, top, width, height = MAP
    true = np.array([pose[:2] for i in range(len(sweeps)) for _, pose in drive.poses(i)])
    low, high = true.min(axis=0) - WITHIN_M, true.max(axis=0) + WITHIN_M
    scale = min(width / (high - low)[0], height / (high - low)[1])
    middle = (low + high) / 2

    def pixels(xy: np.ndarray) -> np.ndarray:
        p = (np.asarray(xy) - middle) * (scale, -scale) + (width / 2, height / 2)
        return np.asarray(np.rint(p * 16), np.int32)

    panel: np.ndarray = np.full((height, width, 3), (240, 237, 235), np.uint8)
    roads, graph = drive.roads, drive.roads.graph
    around = np.array([width, height]) / 2 / scale + 20
    for edge in roads.edges_in(middle - around, middle + around).tolist():
        cv2.polylines(panel, [pixels(roads.line(edge))], False, ROAD, max(2, round(float(graph.widths[edge]) * scale)),
                      cv2.LINE_AA, 4)
    cv2.polylines(panel, [pixels(drive.route.xy)], False, ROUTE, 3, cv2.LINE_AA, 4)
    if len(track) > 1:
        cv2.polylines(panel, [pixels(track)], False, PLACED, 2, cv2.LINE_AA, 4)
    cv2.polylines(panel, [pixels(true)], False, TRUE, 1, cv2.LINE_AA, 4)
    for fix in (f for i in range(len(sweeps)) for f in drive.fixes(i) if f.status == FIX):
        x, y = pixels(drive.frame.to_metres(fix.latitude, fix.longitude)).tolist()
        cv2.circle(panel, (x, y), 34, FIXES, -1, cv2.LINE_AA, 4)
    for place, name in ((true[0], 'start'), (drive.route.xy[-1], 'goal')):
        x, y = (pixels(place) // 16).tolist()
        cv2.circle(panel, (x, y), 7, INK, -1, cv2.LINE_AA)
        cv2.circle(panel, (x, y), 4, PAPER, -1, cv2.LINE_AA)
        draw_text(panel, name, x + 11, y - 8, 11, INK)
    bar = round(100 * scale)
    cv2.line(panel, (width - 20 - bar, height - 18), (width - 20, height - 18), INK, 2)
    draw_text(panel, '100 m', width - 20 - bar, height - 26, 9, INK)
    cv2.arrowedLine(panel, (width - 24, 54), (width - 24, 18), INK, 2, cv2.LINE_AA, tipLength=0.35)
    draw_text(panel, 'N', width - 54, 32, 11, INK)
    image[top:top + height, left:left + width] = panel
    cv2.rectangle(image, (left, top), (left + width, top + height), FAINT, 1)
    x = left
    for text, colour in (('route to the goal', ROUTE), ('fixes of the receiver', FIXES),
                         ('position of map_source', PLACED), ('true way', TRUE)):
        cv2.line(image, (x, top + height + 18), (x + 22, top + height + 18), colour, 4, cv2.LINE_AA)
        draw_text(image, text, x + 30, top + height + 23, 10, INK)
        x += 54 + text_width(text, 10)


def _square(image: np.ndarray, corner: tuple[int, int], drive: CityDrive, sweep: DemoSweep, pose: Pose2, title: str,
            error: tuple[float, float]) -> None:
    """The map as it is drawn around a pose, with what the LiDAR saw and where the roads really are."""
    resolution = 2 * REACH_M / SQUARE
    layout = ImageLayout(resolution, (SQUARE, SQUARE))
    drawn = MapPainter(drive.roads, layout).draw((pose.x, pose.y, pose.yaw), drive.route.xy)[..., ::-1]
    panel = np.rint(drawn.astype(np.float32) * 0.62).astype(np.uint8)

    def pixels(xy: np.ndarray) -> np.ndarray:
        return np.asarray(np.rint((SQUARE / 2 - np.asarray(xy)[:, ::-1] / resolution) * 16), np.int32)

    T = drive.T_base_sensor
    points = sweep.cloud.xyz @ T[:3, :3].T + T[:3, 3]
    points = points[(points[:, 2] > STRUCTURE_M[0]) & (points[:, 2] < STRUCTURE_M[1])]
    place = pixels(points[:, :2]) // 16
    place = place[((place >= 0) & (place < SQUARE)).all(axis=1)]
    panel[place[:, 1], place[:, 0]] = POINT
    from attention_fusion_ros.simulation.world.world import to_base
    true = drive.poses(sweep.index)[0][1]
    for road in drive.world_at(sweep.index).roads:
        cv2.polylines(panel, [pixels(to_base(road.centre, true))], False, (255, 190, 60), 1, cv2.LINE_AA, 4)
    m = SQUARE // 2
    cv2.fillConvexPoly(panel, np.array([(m, m - 9), (m - 6, m + 8), (m + 6, m + 8)]), (255, 255, 255), cv2.LINE_AA)
    x, y = corner
    image[y:y + SQUARE, x:x + SQUARE] = panel
    draw_fitted(image, title, x, y - 10, 11, INK, SQUARE)
    draw_text(image, f'off by {error[0]:.1f} m and {math.degrees(error[1]):.1f} deg', x, y + SQUARE + 22, 11, INK)


def _explain(image: np.ndarray, x: int, y: int, sweep: DemoSweep, note: str) -> None:
    lines = (('grey', 'roads as map_source draws them, in red the route', (160, 160, 160)),
             ('yellow', 'what the LiDAR sees: walls, cars, trees', (20, 170, 200)),
             ('blue', 'where the middle of the roads really is', (225, 150, 30)))
    for k, (name, text, colour) in enumerate(lines):
        draw_text(image, name, x, y + 24 * k, 11, colour)
        draw_text(image, text, x + 80, y + 24 * k, 11, INK)
    true, said = sweep.truth.direction, sweep.direction
    if true is not None:
        answer = 'no direction' if said is None else f'{math.degrees(said[0]):+.0f} deg'
        draw_text(image, f'The fusion node, at this place: direction {answer}; true: {math.degrees(true[0]):+.0f} deg '
                  '(left is positive).', x, y + 24 * 3 + 10, 11, INK)
    for k, line in enumerate(wrapped(note, 10, 2 * SQUARE)):
        draw_text(image, line, x, y + 24 * (4 + k) + 14, 10, INK)


def _chart(image: np.ndarray, sweeps: Sequence[DemoSweep], shown: DemoSweep | None) -> None:
    """By how many metres the map was off, over time."""
    left, top, width, height = CHART
    draw_text(image, 'How far off the map is drawn, in metres, over the time of the drive', left, top - 8, 11, INK)
    seconds = max(s.time_ns for s in sweeps) / 1e9 or 1.0
    series = [(text, colour, [(s.time_ns / 1e9, e[0]) for s in sweeps if (e := getattr(s, name)) is not None])
              for text, colour, name in (('receiver and odometry alone', FIXES, 'map_before'),
                                         ('with map alignments', PLACED, 'map_after'))]
    high = max([2.0, *(v for _, _, points in series for _, v in points)]) * 1.1
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e9) if high / s <= 6)

    def pixel(t: float, value: float) -> tuple[int, int]:
        return left + 40 + round((width - 50) * t / seconds), top + height - 24 - round((height - 34) * value / high)

    for k in range(int(high / step) + 1):
        (x, y), (x2, _) = pixel(0.0, k * step), pixel(seconds, k * step)
        cv2.line(image, (x, y), (x2, y), (225, 222, 222), 1)
        draw_text(image, f'{k * step:g}', left, y + 5, 10, FAINT)
    for second in range(0, int(seconds) + 1, 10):
        draw_text(image, f'{second} s', pixel(second, 0.0)[0] - 10, top + height - 2, 10, FAINT)
    if shown is not None:
        x, y = pixel(shown.time_ns / 1e9, high)
        cv2.line(image, (x, y), (x, pixel(0.0, 0.0)[1]), FAINT, 1, cv2.LINE_AA)
        draw_text(image, '1, 2', x - 38, y + 12, 10, FAINT)
    x = left + width - 520
    for text, colour, points in series:
        for (t, v), (u, w) in zip(points[:-1], points[1:]):
            cv2.line(image, pixel(t, v), pixel(u, w), colour, 3, cv2.LINE_AA)
        cv2.line(image, (x, top - 12), (x + 22, top - 12), colour, 4, cv2.LINE_AA)
        draw_text(image, text, x + 30, top - 7, 10, INK)
        x += 270
