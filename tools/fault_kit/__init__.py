# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of tools/faults.py: the processes it starts, what it does to them, and what it measures."""
