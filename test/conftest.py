# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Set before any message package is imported."""

import os

# Messages check the types of what is assigned to them, as they always do up to Humble; later only when asked to.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
