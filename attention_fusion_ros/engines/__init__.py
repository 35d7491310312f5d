# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where work of many independent pieces runs: one after the other here, or on a Ray cluster; one signature for both."""
