# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole chain at random places of the earth, across the antimeridian too: the same town is the same everywhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.map_kit import FRAME, START_NS, town

from attention_fusion_ros.errors import InputError
from attention_fusion_ros.geometry import wrap
from attention_fusion_ros.maps.fix import Fix
from attention_fusion_ros.maps.frames import LocalFrame, Utm, in_bounds, utm_zone
from attention_fusion_ros.maps.load import load_roads
from attention_fusion_ros.maps.local_roads import LocalRoads
from attention_fusion_ros.maps.map_position import MapPosition
from attention_fusion_ros.maps.painter import ImageLayout, MapPainter
from attention_fusion_ros.maps.route import RoutePlanner

pytest.importorskip('pyproj', reason='needs pyproj')

datums = st.tuples(st.floats(-79.9, 83.9), st.floats(-180.0, 180.0))
antimeridian = st.tuples(st.floats(-79.0, 83.0), st.one_of(st.floats(179.99, 180.0), st.floats(-180.0, -179.99)))
anywhere = st.one_of(datums, antimeridian)
seeds = st.integers(0, 10**6)
BLOCK = ({1: (-400.0, 0.0), 2: (0.0, 10.0), 3: (350.0, 0.0), 4: (20.0, 300.0), 5: (340.0, 320.0)},
         [([1, 2, 3], {'highway': 'primary'}), ([4, 2], {'oneway': 'yes'}), ([3, 5, 4], {'oneway': '-1'}),
          ([3, 4], {'maxspeed': '20'})])


@settings(deadline=None, max_examples=30)
@given(anywhere, seeds)
@example((-17.0, 180.0), 1)
@example((65.0, -180.0), 2)
def test_image_and_route_are_the_same_everywhere(datum, seed):
    rng = np.random.default_rng(seed)
    here, there = town(*BLOCK, datum=datum), town(*BLOCK)
    layout = ImageLayout(size=(160, 120), resolution=1.0, orientation=str(rng.choice(['heading_up', 'north_up'])))
    start, goal = rng.uniform(-250, 350, 2), (330.0, 310.0)
    routes = [RoutePlanner(roads).plan([goal], roads.nearest(start).place) for roads in (here, there)]
    assert routes[0].xy == pytest.approx(routes[1].xy, abs=0.01)
    assert routes[0].seconds == pytest.approx(routes[1].seconds, rel=0.01)  # lengths are those of a sphere
    pose = (*(routes[1].xy[len(routes[1].xy) // 2] + rng.uniform(-20, 20, 2)), float(rng.uniform(-3, 3)))
    images = [MapPainter(roads, layout).draw(pose, routes[1].xy).astype(int) for roads in (here, there)]
    assert np.abs(images[0] - images[1]).mean() < 0.5 and images[0].any()
    degrees = np.array(json.loads(routes[0].geojson())['geometry']['coordinates'])
    assert (np.abs(degrees[:, 0]) <= 180.0).all()
    assert here.frame.to_metres(degrees[:, 1], degrees[:, 0]) == pytest.approx(routes[0].xy, abs=0.05)


def osm_file(path: Path, datum: tuple[float, float]) -> Path:
    """BLOCK around a datum, as editors write it."""
    nodes, ways = BLOCK
    latitudes, longitudes = LocalFrame(*datum).to_degrees(np.array(list(nodes.values())))
    places = [f"<node id='-{n}' lat='{lat:.8f}' lon='{lon:.8f}'/>" for n, lat, lon in zip(nodes, latitudes, longitudes)]
    lines = [f"<way id='-{10 + k}'>{''.join(f'<nd ref={chr(39)}-{r}{chr(39)}/>' for r in refs)}"
             + ''.join(f"<tag k='{key}' v='{value}'/>" for key, value in {'highway': 'residential', **tags}.items())
             + '</way>' for k, (refs, tags) in enumerate(ways)]
    path.write_text(f"<osm version='0.6'>{''.join(places)}{''.join(lines)}</osm>")
    return path


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anywhere)
@example((-17.0, 180.0))
def test_files_are_read_everywhere(tmp_path, datum):
    pytest.importorskip('osmium', reason='needs osmium')
    graph = load_roads(osm_file(tmp_path / 'town.osm', datum), cache=None)
    assert in_bounds(graph.bounds, *datum) and not in_bounds(graph.bounds, datum[0], datum[1] + 90.0)
    roads, there = LocalRoads(graph, LocalFrame(*datum)), town(*BLOCK)
    found, expected = (sorted(np.round(r.line(e).mean(axis=0), 0).tolist() for e in range(len(r.graph)))
                       for r in (roads, there))
    assert np.array(found) == pytest.approx(np.array(expected), abs=1.1)
    assert graph.lengths.sum() == pytest.approx(float(there.graph.lengths.sum()), rel=0.01)


@settings(deadline=None, max_examples=8)
@given(anywhere, seeds)
@example((-17.0, 180.0), 3)
def test_the_position_is_found_everywhere(datum, seed):
    """By fixes and odometry that starts anywhere, and by odometry in UTM."""
    rng = np.random.default_rng(seed)
    frame = LocalFrame(*datum)
    yaw, turn = (float(v) for v in rng.uniform(-3.1, 3.1, 2))
    shift = rng.uniform(-1e4, 1e4, 2)
    by_fix, by_utm = MapPosition(frame), MapPosition(frame)
    zone, north = utm_zone(*datum)
    grid = Utm(zone, north)
    for k in range(60):
        stamp_ns = START_NS + k * 100_000_000
        xy = np.array([math.cos(yaw), math.sin(yaw)]) * 1.5 * k
        latitude, longitude = (float(v) for v in frame.to_degrees(xy))
        turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ xy + shift
        by_fix.add_odometry(stamp_ns, *turned, yaw + turn)
        by_fix.add_fix(Fix(stamp_ns, '', latitude, longitude, 0.0, 0.05, True))
        e, n = grid.to_metres(latitude, longitude)
        grid_yaw = yaw + grid.convergence(latitude, longitude) - frame.convergence(latitude, longitude)
        by_utm.add_odometry(stamp_ns, float(e), float(n), grid_yaw)
        by_utm.add_pose(stamp_ns, *grid.pose_in(frame, float(e), float(n), grid_yaw), std=0.05)
    for position in (by_fix, by_utm):
        found = position.estimate().pose
        assert found[:2] == pytest.approx(xy, abs=0.2) and abs(wrap(found.yaw - yaw)) < math.radians(0.5)


@settings(deadline=None)
@given(st.one_of(st.floats(84.01, 90.0), st.floats(-90.0, -80.01)), st.floats(-180.0, 180.0))
def test_around_the_poles_everything_is_refused_by_name(latitude, longitude):
    fix = Fix(START_NS, '', latitude, longitude, 0.0, 1.0, True)
    for call in (lambda: LocalFrame(latitude, longitude), lambda: utm_zone(latitude, longitude),
                 lambda: MapPosition(LocalFrame(*FRAME)).add_fix(fix),
                 lambda: RoutePlanner(town(*BLOCK)).to_degrees(latitude, longitude, [0.0, 0.0])):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.reason in ('near_pole', 'far_from_datum', 'goal_off_network') and error.value.remedy
    with pytest.raises(InputError) as error:
        LocalFrame(latitude, longitude)
    assert error.value.reason == 'near_pole'
