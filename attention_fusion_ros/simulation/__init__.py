# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Road worlds with exact truth, and what a LiDAR and a map with errors make of them."""
