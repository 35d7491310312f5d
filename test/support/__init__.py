# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests share: messages, recordings, drives, small networks, nodes."""
