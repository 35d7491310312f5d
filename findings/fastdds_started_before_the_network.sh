#!/usr/bin/env bash
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# Fast DDS 2.14.5 (rmw_fastrtps of ROS 2 Jazzy): a node that is started while the only network interface is down stays
# deaf for good. Its participant looks at the interfaces when it is made; when the interface comes up, nodes started from
# then on find each other, the first one finds nobody, and says nothing. On a robot: a node started at boot, before
# DHCP or the cable. (An interface that is up when the node starts, goes down and comes back, is no problem.)
#
# Guessed: discovery is announced again and again, so the node is found a few seconds after the interface is up. What
# helps: start after the network (systemd: network-online.target), or start such nodes again.
#
# Runs in a network namespace of its own (unshare), where the loopback interface is the only one. Linux.
#
# Seen:
#   Fast DDS 2.14.5
#   started before the interface was up: 0 publishers found
#   started after: 1 publisher found, words heard: yes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check ros-jazzy-rclpy==7.1.6 ros-jazzy-std-msgs==5.3.6 \
    ros-rmw-fastrtps-cpp==8.4.3 ros-fastrtps==2.14.5 numpy==1.26.4

cat > look.py <<'EOF'
import sys
import time
from importlib.metadata import version

import rclpy
from std_msgs.msg import String


def read(name):
    with open(name) as file:
        publishers, heard = file.read().split()
    return int(publishers), heard


name = sys.argv[1]
if name == 'judge':
    (early, _), (late, heard) = read('early'), read('late')
    print('Fast DDS', version('ros-fastrtps'))
    print(f'started before the interface was up: {early} publishers found')
    print(f'started after: {late} publisher found, words heard: {heard}')
    sys.exit(not (early == 0 and late == 1 and heard == 'yes'))
rclpy.init()
node = rclpy.create_node(name)
words = []
if name == 'talker':
    publisher = node.create_publisher(String, '/words', 10)
    node.create_timer(0.2, lambda: publisher.publish(String(data='word')))
else:
    node.create_subscription(String, '/words', lambda message: words.append(message.data), 10)
end, most = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
    most = max(most, node.count_publishers('/words'))
if name != 'talker':
    with open(name, 'w') as file:
        print(most, 'yes' if words else 'no', file=file)
EOF
cat > both.sh <<'EOF'
env/bin/python look.py early 30 &
sleep 8
ip link set lo up
sleep 1
env/bin/python look.py late 18 &
env/bin/python look.py talker 20 &
wait
EOF
ROS_DOMAIN_ID=0 RMW_IMPLEMENTATION=rmw_fastrtps_cpp unshare --user --map-root-user --net bash both.sh
env/bin/python look.py judge && echo 'as described' || { echo 'this has changed'; exit 1; }
