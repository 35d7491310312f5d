# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Fast versions of operations, one a file. Each module here is imported when the first operation is called."""
