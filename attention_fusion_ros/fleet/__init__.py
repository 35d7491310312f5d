# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Work over many recordings: which they are, what is kept of each, and one table of all."""
