# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Map image, odometry and transforms that are missing, odd or changed."""

from __future__ import annotations

import time

from fault_kit.fault import fault
from fault_kit.run import Run

GROUP = 'map, odometry, tf'
PICTURES = {'map image of another size': 'half the size', 'map image in bgr8': 'bgr', 'black map image': 'black',
            'map image of unknown encoding': 'unknown encoding', 'empty map image': 'empty'}
ODOMETRY = {'odometry missing for 6 s': ('none', 'It stops and comes again.'),
            'odometry that jumps': ('jump', 'Every message lies 100 m from the one before, for 6 s.'),
            'odometry of NaN': ('nan', 'The position is NaN for 6 s.'),
            'odometry of another frame': ('other child', 'child_frame_id is one without a transform, for 6 s.')}


def _register_picture(name: str, picture: str) -> None:
    def act(run: Run) -> None:
        run.send(4.0, picture=picture, answers=True)

    act.__doc__ = 'For 4 s; sweeps and odometry as ever.'
    fault(GROUP, name, quick=picture == 'unknown encoding')(act)


def _register_odometry(name: str, odometry: str, text: str) -> None:
    def act(run: Run) -> None:
        run.send(6.0, odometry=odometry, answers=True)

    act.__doc__ = text
    fault(GROUP, name)(act)


for _name, _picture in PICTURES.items():
    _register_picture(_name, _picture)
for _name, (_odometry, _text) in ODOMETRY.items():
    _register_odometry(_name, _odometry, _text)


@fault(GROUP, 'map image missing for 12 s')
def no_map(run: Run) -> None:
    """It stops and comes again; the node is told to use one for 3 s (map.max_age)."""
    before = run.stage.parameter('map.max_age')
    run.stage.set_parameter('map.max_age', 3.0)
    run.send(12.0, picture='none', answers=True)
    run.stage.set_parameter('map.max_age', before)
    run.expect('lidar_only', 'map')


@fault(GROUP, 'map of another scale')
def wrong_scale(run: Run) -> None:
    """The parameter map.resolution is four times too large for 4 s."""
    run.inject()
    before = run.stage.parameter('map.resolution')
    run.stage.set_parameter('map.resolution', 4.0 * before)
    time.sleep(4.0)
    run.still_answers()
    run.stage.set_parameter('map.resolution', before)
    run.lift()


@fault(GROUP, 'tf missing at the start', bound_s=5.0)
def late_tf(run: Run) -> None:
    """Node and driver start anew; the transform of the sensor comes 6 s after the first sweep."""
    run.stage.driver.stop()
    run.stage.start_driver()
    run.stage.driver.want(tf='none')
    run.stage.start_node()
    run.stage.up()
    run.inject(6.0)
    run.lift()
    run.stage.driver.want()
    run.expect('transform', 'tf')


@fault(GROUP, 'sensor moved while it runs')
def moved(run: Run) -> None:
    """/tf_static tells another pose of the sensor, 0.3 m higher, for 4 s."""
    run.send(4.0, tf='moved')
    run.stage.driver.want(tf='static')


@fault(GROUP, 'flood on /tf', quick=True)
def tf_storm(run: Run) -> None:
    """5000 transforms a second of 50 other frames for 5 s."""
    with run.helper('flood', '/tf', '5000'):
        run.inject(5.0)
        run.still_answers()
    run.lift()
