# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How good the answers are: metrics, baselines, held-out simulation, real drives, tables and plots."""
