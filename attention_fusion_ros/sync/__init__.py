# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Stamped poses, transforms and map images, and which of them go with a sweep."""
