# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms: every one trained and judged alike."""
