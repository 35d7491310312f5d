# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ROS side: node, messages, parameters, diagnostics. Nothing else imports rclpy or message packages."""
