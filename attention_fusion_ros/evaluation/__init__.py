# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How good the network is: metrics, baselines, held-out simulation, real drives, tables and plots."""
