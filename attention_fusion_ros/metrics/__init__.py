# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How good a prediction is: matching, the table of metrics, intervals."""
