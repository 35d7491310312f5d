# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Does attention decide? Interventions on a trained network, over held-out scenes."""
