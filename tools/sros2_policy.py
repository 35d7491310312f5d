# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes config/sros2/, from the tables of inputs and outputs: what processes of a launch file may do on the graph.

    python tools/sros2_policy.py                                        the policies that ship
    python tools/sros2_policy.py --topic pointcloud=/ouster/points      one for other topics, printed
"""

from __future__ import annotations

import sys

import generated

sys.path.insert(0, str(generated.ROOT))

from attention_fusion_ros.commands import cli  # noqa: E402
from attention_fusion_ros.ros import access  # noqa: E402
from attention_fusion_ros.ros.launch_arguments import MAP_IMAGE_TOPIC  # noqa: E402
from attention_fusion_ros.sync.synchronizer import MAP_IMAGE  # noqa: E402

HEAD = 'SROS2 policy for {}.launch.py, least privilege; written by tools/sros2_policy.py. See docs/security.md.'


def main(argv: list[str] | None = None) -> int:
    """Write, check or print; returns the exit status."""
    parser = generated.parser(__doc__)
    parser.add_argument('--topic', action='append', default=[], metavar='INPUT=TOPIC',
                        help='of an input of the launch file; may be repeated')
    parser.add_argument('--publish-tf', action='store_true', help='parameters frames.map_image and publish_tf are set')
    parser.add_argument('--sim-time', action='store_true', help='the nodes listen to /clock')
    options = parser.parse_args(argv)
    if options.topic or options.publish_tf or options.sim_time:
        topics = cli.assignments(options.topic, '--topic')
        nodes = (access.fusion_access({MAP_IMAGE: f'/{MAP_IMAGE_TOPIC}', **topics}, options.sim_time,
                                      options.publish_tf),
                 access.map_access({name: topic for name, topic in topics.items() if name != MAP_IMAGE},
                                   options.sim_time, options.publish_tf))
        print(access.policy((*nodes, access.launch_access(nodes))), end='')
        return 0
    folder = generated.ROOT / 'config' / 'sros2'
    files = {folder / f'{name}.policy.xml': access.policy(nodes, HEAD.format(name))
             for name, nodes in access.scenarios().items()}
    return generated.write_or_check(files, options.check, 'python tools/sros2_policy.py')


if __name__ == '__main__':
    sys.exit(main())
