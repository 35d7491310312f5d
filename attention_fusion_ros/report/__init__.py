# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run looks like: records, plots, contact sheets, and a page that shows them."""
