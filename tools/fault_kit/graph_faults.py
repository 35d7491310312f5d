# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Other nodes, and calls of the node's services at bad moments."""

from __future__ import annotations

import random
import time

from lifecycle_msgs.msg import Transition

from fault_kit.fault import fault
from fault_kit.run import Run
from fault_kit.stage import READY_TIMEOUT_S

GROUP = 'graph and services'
OUTPUTS = (('heatmap/image', 'sensor_msgs/msg/Image'), ('heatmap/spatial', 'nav_msgs/msg/OccupancyGrid'),
           ('heatmap/gradcam', 'nav_msgs/msg/OccupancyGrid'), ('attention_points', 'sensor_msgs/msg/PointCloud2'),
           ('markers', 'visualization_msgs/msg/MarkerArray'), ('distribution', 'sensor_msgs/msg/LaserScan'))
ALL = [word for topic, kind in OUTPUTS for word in (f'/attention_fusion/{topic}', kind)]


@fault(GROUP, 'second node of the same name', bound_s=5.0)
def second_node(run: Run) -> None:
    """It starts, is configured and active (both answer every sweep), and ends after 6 s."""
    run.inject()
    with run.second_node():
        time.sleep(6.0)
    run.lift()


@fault(GROUP, '200 topics in the domain', bound_s=5.0)
def crowd(run: Run) -> None:
    """A process with 200 topics, each with publisher and subscriber, for 8 s."""
    with run.helper('crowd', '200'):
        run.inject(8.0)
        run.still_answers()
    run.lift()


@fault(GROUP, 'start in a crowded domain', bound_s=30.0)
def crowded_start(run: Run) -> None:
    """The node starts anew while there are 200 other topics."""
    with run.helper('crowd', '200'):
        run.inject()
        run.lift()
        run.stage.start_node()
        run.stage.answer(run.lifted_s, READY_TIMEOUT_S * run.stage.patience)


@fault(GROUP, 'a publisher of another type', quick=True)
def rogue(run: Run) -> None:
    """Somebody publishes images on the topic of the clouds for 3 s."""
    with run.helper('rogue', '/attention_fusion/input/pointcloud', 'sensor_msgs/msg/Image'):
        run.inject(3.0)
        run.still_answers()
    run.lift()


@fault(GROUP, 'two drivers on one topic')
def two_drivers(run: Run) -> None:
    """A second driver sends the same sweeps, maps and odometry for 5 s."""
    first = run.stage.driver
    second = run.stage.start_driver()
    run.stage.wait(lambda: second.good, 20.0)
    run.inject(5.0)
    second.stop()
    run.lift()
    run.stage.drivers.remove(second)
    run.stage.drivers.insert(0, second)
    assert run.stage.driver is first


@fault(GROUP, 'driver comes back with best effort')
def best_effort(run: Run) -> None:
    """It ends, and another one starts that offers best effort in the place of reliable; then the first kind again."""
    run.inject()
    run.stage.driver.stop()
    run.stage.start_driver(best_effort=True)
    run.stage.wait(lambda: len(run.stage.driver.good) > 8, 20.0)
    run.stage.driver.stop()
    run.stage.start_driver()
    run.stage.wait(lambda: run.stage.driver.good, 20.0)
    run.lift()


@fault(GROUP, 'subscriber of every heatmap killed')
def subscriber_killed(run: Run) -> None:
    """It subscribes to all pictures and heatmaps reliably and is killed with -9 after 4 s."""
    with run.helper('subscribe', *ALL) as process:
        run.inject(4.0)
        process.kill()
        process.wait()
        time.sleep(2.0)
    run.still_answers()
    run.lift()


@fault(GROUP, 'subscriber of every heatmap stopped')
def subscriber_stopped(run: Run) -> None:
    """A reliable subscriber of all pictures and heatmaps takes nothing for 15 s (SIGSTOP)."""
    with run.helper('subscribe', *ALL) as process:
        run.inject(2.0)
        with run.stopped(process.pid):
            time.sleep(15.0)
            run.still_answers()
    run.lift()


@fault(GROUP, 'forty subscribers that come and go')
def subscribers(run: Run) -> None:
    """Eight processes with all pictures and heatmaps, one after the other."""
    run.inject()
    for _ in range(8):
        with run.helper('subscribe', *ALL):
            time.sleep(0.5)
    run.lift()


@fault(GROUP, 'parameter storm', quick=True)
def parameters(run: Run) -> None:
    """Parameters are set as fast as the node answers for 4 s, every third time to what it must refuse."""
    run.inject()
    before = run.stage.parameter('branches.min_probability')
    end, count = time.monotonic() + 4.0, 0
    while time.monotonic() < end:
        accepted = run.stage.set_parameter('branches.min_probability', (0.2, 0.3, -1.0)[count % 3])
        run.check(accepted == (count % 3 != 2), f'a value of {(0.2, 0.3, -1.0)[count % 3]} was accepted: {accepted}')
        count += 1
    run.stage.set_parameter('branches.min_probability', before)
    run.still_answers()
    run.lift()
    run.said.append(f'{count} sets')


@fault(GROUP, 'lifecycle calls during work', bound_s=5.0)
def lifecycle(run: Run) -> None:
    """Thirty transitions in random order, impossible ones among them, while sweeps come; active again at the end."""
    rng = random.Random(1)
    run.inject()
    for _ in range(30):
        run.stage.change_state(rng.choice((Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
                                           Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, 99)))
    run.stage.change_state(Transition.TRANSITION_CONFIGURE)
    run.stage.change_state(Transition.TRANSITION_ACTIVATE)
    run.lift()


@fault(GROUP, 'deactivated and activated 20 times')
def toggled(run: Run) -> None:
    """As fast as the node answers."""
    run.inject()
    for _ in range(20):
        run.check(run.stage.change_state(Transition.TRANSITION_DEACTIVATE), 'deactivate was refused')
        run.check(run.stage.change_state(Transition.TRANSITION_ACTIVATE), 'activate was refused')
    run.lift()


@fault(GROUP, 'cleaned up and configured five times', bound_s=5.0)
def cleaned(run: Run) -> None:
    """In work; threads, handles and memory of the node are compared before and after."""
    before = len(run.node.threads()), run.node.handles()
    run.inject()
    for _ in range(5):
        run.stage.reconfigure()
    run.lift()
    run.stage.answer(run.lifted_s, 10.0)
    after = len(run.node.threads()), run.node.handles()
    run.said.append(f'threads {before[0]} to {after[0]}, handles {before[1]} to {after[1]}')
    run.check(after[0] <= before[0] and after[1] <= before[1] + 2, 'threads or handles were left behind')


@fault(GROUP, 'topic names that collide', bound_s=30.0)
def collision(run: Run) -> None:
    """A node is started whose map image is remapped to the topic of the clouds; then one as it should be."""
    run.inject()
    run.stage.start_node(remaps={'/attention_fusion/input/map_image': '/attention_fusion/input/pointcloud'})
    run.note_end(60.0 * run.stage.patience)
    run.note_log_errors()
    run.expect('Remedy')
    run.lift()
    run.stage.start_node()


@fault(GROUP, 'another namespace beside it')
def namespace(run: Run) -> None:
    """A second node in namespace /spare hears the same driver through remaps, for 5 s."""
    run.inject()
    with run.second_node(namespace='/spare'):
        time.sleep(5.0)
        run.still_answers()
    run.lift()
