# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `map_source`: a file of roads and a position in, map image and route out."""
