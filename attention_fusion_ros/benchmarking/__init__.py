# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Made-up sweeps of a fixed size, and what is measured with them."""
