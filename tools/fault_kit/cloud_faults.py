# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps that are not what they should be, or not when."""

from __future__ import annotations

from fault_kit.fault import fault
from fault_kit.run import Run

GROUP = 'sweeps'
ODD = {  # name: cloud of odd_clouds, how it is called, reason that is expected
    'empty clouds': ('empty', 'clouds without a point', 'empty_cloud'),
    'clouds of NaN': ('NaN', 'every coordinate is NaN', 'no_finite_points'),
    'clouds at the origin': ('origin', 'every point is (0, 0, 0), as dead sensors send', 'no_returns'),
    'clouds cut short': ('cut', 'half of the bytes are missing', 'truncated_data'),
    'clouds without z': ('without z', 'the field z is missing', 'missing_field'),
    'coordinates of 1e30 m': ('huge', 'x is 1e30 in every point', ''),
    'garbage on the wire': ('garbage', '5000 random bytes in place of a serialised cloud', ''),
}
SWAPPED = {'sensor swapped: float64': 'doubles', 'sensor swapped: Velodyne layout': 'velodyne',
           'sensor swapped: big-endian': 'big endian', 'half of the points NaN, is_dense true': 'half NaN'}
STAMPS = {'stamps of zero': ('zero', 'stamp_zero'), 'stamps an hour ahead': ('one hour ahead', ''),
          'stamps an hour behind': ('one hour behind', ''), 'the same stamp again and again': ('the same', ''),
          'stamps that run backwards': ('backwards', '')}


def _register_odd(name: str, cloud: str, text: str, reason: str, quick: bool) -> None:
    def act(run: Run) -> None:
        run.send(2.0, cloud=cloud)
        if reason:
            run.expect(f'`{reason}`')

    act.__doc__ = f'For 2 s {text}.'
    fault(GROUP, name, quick=quick)(act)


def _register_swapped(name: str, cloud: str) -> None:
    def act(run: Run) -> None:
        run.send(2.0, cloud=cloud, answers=True)

    act.__doc__ = 'The driver sends another layout of the same points for 2 s, then the first one again.'
    fault(GROUP, name)(act)


def _register_stamp(name: str, stamp: str, reason: str) -> None:
    def act(run: Run) -> None:
        run.send(3.0, stamp=stamp)
        if reason:
            run.expect(f'`{reason}`')

    act.__doc__ = 'For 3 s, odometry and map stamped as ever.'
    fault(GROUP, name, quick=stamp == 'zero')(act)


for _number, (_name, (_cloud, _text, _reason)) in enumerate(ODD.items()):
    _register_odd(_name, _cloud, _text, _reason, quick=_number < 3)
for _name, _cloud in SWAPPED.items():
    _register_swapped(_name, _cloud)
for _name, (_stamp, _reason) in STAMPS.items():
    _register_stamp(_name, _stamp, _reason)


@fault(GROUP, 'sensor clock 37 s ahead')
def tai(run: Run) -> None:
    """Sweeps are stamped in TAI (PTP without an offset) for 4 s."""
    run.send(4.0, stamp='TAI')


@fault(GROUP, 'sweeps at 1 kHz', quick=True)
def kilohertz(run: Run) -> None:
    """A driver that has lost its mind sends every sweep a thousand times a second for 4 s."""
    run.send(4.0, rate=1000.0, answers=True)


@fault(GROUP, 'clouds of 2 MB')
def two_megabytes(run: Run) -> None:
    """Ten a second for 5 s."""
    run.send(5.0, cloud='2 MB', rate=10.0, answers=True)


@fault(GROUP, 'clouds of 20 MB', bound_s=10.0)
def twenty_megabytes(run: Run) -> None:
    """Two a second for 8 s."""
    run.send(8.0, cloud='20 MB', rate=2.0, answers=True)


@fault(GROUP, 'no sweeps for 8 s')
def silence(run: Run) -> None:
    """The driver is there and sends no sweep (a sensor without power)."""
    run.send(8.0, rate=0.01)
    run.expect('received for')


@fault(GROUP, 'sensor swapped: another frame')
def other_frame(run: Run) -> None:
    """Sweeps come in a frame that is on /tf_static from the first one on, for 3 s."""
    run.send(3.0, frame='lidar_spare', tf='moved')
    run.stage.driver.want(tf='static')


@fault(GROUP, 'a frame that nobody knows', quick=True)
def unknown_frame(run: Run) -> None:
    """Sweeps come in a frame without a transform for 3 s."""
    run.send(3.0, frame='nowhere', tf='none')
    run.expect('transform', 'tf')
