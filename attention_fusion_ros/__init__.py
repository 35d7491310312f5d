# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Road directions from LiDAR and a coarse map image, with channel and spatial attention.

The core (everything outside `ros/`) imports neither rclpy nor message packages.
"""

__version__ = '0.1.0'
