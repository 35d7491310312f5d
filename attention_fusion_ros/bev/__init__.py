# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye-view grids: where cells lie, what LiDAR and map put into them."""
