# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The files that recordings consist of: mcap, sqlite3 and ROS 1 bags, whole or not, and the metadata beside them.

What the files hold counts. Whatever repeats it (metadata.yaml, indexes, statistics, names of files) is used to be fast
or to say what should be there, never instead of the data.
"""
