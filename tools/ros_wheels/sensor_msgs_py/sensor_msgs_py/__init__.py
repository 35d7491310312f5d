# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for ROS 2's sensor_msgs_py, for machines whose ROS 2 comes from wheels, which lack it.

Installed only where the real package is absent. It has the same functions and gives the same results and errors, those
that surprise included, so that code which works here works there.
"""
