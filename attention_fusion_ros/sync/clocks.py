# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the inputs are stamped by one clock: sweeps of PTP (TAI) time beside odometry of UTC never find each other.

Of every message two times are known: its stamp, and when it was received (ROS time in the node, the time of recording
elsewhere). Their difference is the latency of an input plus the error of its clock. How sweeps and another input differ
is told by comparing messages that were received together; where that is steady and no latency, it is the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

SECOND_NS = 10**9
TOGETHER_NS = 2 * SECOND_NS  # messages received within this time of each other are compared
WINDOW, ENOUGH = 16, 3  # comparisons that are kept, and that tell something
MIN_DIFFERENCE_S = 0.5  # latencies are less
MAX_SPREAD_S, MAX_SPREAD_SHARE = 0.3, 0.02  # of a steady difference: in seconds, or as a share of it
RECEIVED = 'received'  # stands for the clock that tells when messages are received
TAI_S, GPS_S, YEAR_S = 37.0, 18.0, 365.25 * 86_400.0
LATE_S = 5.0  # latencies are not longer
OLDEST_RECORDING_S = 30 * YEAR_S  # older stamps do not count from 1970
DRIVER_REMEDY = (
    "let the LiDAR's driver stamp with ROS time (Ouster timestamp_mode TIME_FROM_ROS_TIME, Hesai use_timestamp_type 1, "
    'RoboSense use_lidar_clock false), or synchronise sensor and computer (PTP with the UTC offset set, for Ouster '
    'ptp_utc_tai_offset -37; NTP)')


@dataclass(frozen=True)
class ClockDifference:
    """How sweeps are stamped against other inputs, steadily."""

    seconds: float  # sweeps minus the others: positive where sweeps are ahead
    others: tuple[str, ...]  # labels, for example 'odometry'
    sweeps_are_off: bool = True  # it is the sweeps, not the others, that differ from the time of reception
    is_reception: bool = False  # it is the time of reception alone that they differ from

    def __str__(self) -> str:
        """One sentence that compares the clocks, and the remedy."""
        side = 'ahead of' if self.seconds > 0 else 'behind'
        remedy = DRIVER_REMEDY if self.sweeps_are_off else (
            f'let {_listed(self.others)} be stamped by the clock that stamps the sweeps (use_sim_time, NTP)')
        return (f'sweeps are {abs(self.seconds):.1f} s {side} {_listed(self.others)}, steadily{self._cause()}. '
                f'Remedy: {remedy}.')

    def _cause(self) -> str:
        """What a difference of this size often is."""
        size = abs(self.seconds)
        if abs(size - TAI_S) < 0.5:
            return ': so much is TAI, the time of PTP, ahead of UTC'
        if abs(size - GPS_S) < 0.5:
            return ': so much is GPS time ahead of UTC'
        if self.is_reception and LATE_S < -self.seconds < OLDEST_RECORDING_S:
            return ': the clocks are not synchronised, or this is a recording played without use_sim_time'
        if size > YEAR_S:
            return (f' ({size / YEAR_S:.0f} years): one of them does not count from 1970 but, for example, since its '
                    'boot')
        return ': their clocks are not synchronised' + (', or one of them comes late' if size < LATE_S else '')


def _listed(labels: tuple[str, ...]) -> str:
    return ' and '.join((', '.join(labels[:-1]), labels[-1])) if len(labels) > 1 else labels[0]


class ClockComparison:
    """Compares the stamps of sweeps with those of other inputs, and with the time at which they are received.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, int]] = {}  # by input: received, stamp minus received; in ns
        self._differences: dict[str, deque[int]] = {}  # by input: sweeps minus it, in ns
        self._own: dict[str, deque[int]] = {}  # by input: stamp minus received, in ns

    def clear(self) -> None:
        """Forget everything: time has jumped."""
        self._latest.clear()
        self._differences.clear()
        self._own.clear()

    def on_message(self, name: str, stamp_ns: int, received_ns: int) -> None:
        """A message of an input other than the sweeps."""
        self._latest[name] = received_ns, stamp_ns - received_ns
        self._own.setdefault(name, deque(maxlen=WINDOW)).append(stamp_ns - received_ns)

    def on_sweep(self, stamp_ns: int, received_ns: int) -> None:
        """A sweep: compared with the messages that came since the sweep before."""
        offset_ns = stamp_ns - received_ns
        self._differences.setdefault(RECEIVED, deque(maxlen=WINDOW)).append(offset_ns)
        for name, (at_ns, other_ns) in self._latest.items():
            if abs(received_ns - at_ns) <= TOGETHER_NS:
                self._differences.setdefault(name, deque(maxlen=WINDOW)).append(offset_ns - other_ns)
        self._latest.clear()

    def seconds(self, name: str) -> float | None:
        """Stamps of sweeps minus those of an input (or RECEIVED); None where that is not known or not steady."""
        found = self._differences.get(name, ())
        if len(found) < ENOUGH:
            return None
        middle = median(found) / SECOND_NS
        spread = median(abs(d / SECOND_NS - middle) for d in found)
        return middle if spread <= max(MAX_SPREAD_S, MAX_SPREAD_SHARE * abs(middle)) else None

    def difference(self, names: Iterable[str], labels: Mapping[str, str], with_received: bool = False
                   ) -> ClockDifference | None:
        """How far sweeps are from the first of these inputs from which they are, and which others are with it.

        labels: how the inputs are called in running text. with_received: name RECEIVED, too, where it is with them.
        None where all are stamped alike.
        """
        off = {name: s for name in names if (s := self.seconds(name)) is not None and abs(s) > MIN_DIFFERENCE_S}
        if not off:
            return None
        first = next(iter(off.values()))
        received_s = self.seconds(RECEIVED) if with_received else None
        if received_s is not None:
            off[RECEIVED] = received_s
        alike = [name for name, s in off.items() if abs(s - first) <= max(MIN_DIFFERENCE_S, 0.01 * abs(first))]
        return ClockDifference(first, tuple(labels.get(name, name) for name in alike), self._sweeps_are_off(alike[0]),
                               alike == [RECEIVED])

    def _sweeps_are_off(self, name: str) -> bool:
        """Whether sweeps are farther from the time of reception than the other input."""
        own, other = self._differences.get(RECEIVED), self._own.get(name)
        return not own or not other or abs(median(own)) >= abs(median(other))
