# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: simulated scenes, recordings, real drives, held-out scenes."""
