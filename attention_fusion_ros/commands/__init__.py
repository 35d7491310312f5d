# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands: `ros2 run attention_fusion_ros NAME` or `python -m attention_fusion_ros NAME`; one a module."""
