# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A sweep from whichever message it comes in."""

from __future__ import annotations

from typing import Any

from attention_fusion_ros.contracts import PointCloud
from attention_fusion_ros.decode.cloud import decode_cloud
from attention_fusion_ros.decode.compressed_cloud import decode_compressed_cloud
from attention_fusion_ros.decode.livox import decode_livox


def decode_sweep(msg: Any) -> PointCloud:
    """One sweep from a PointCloud2, a CompressedPointCloud2 or a Livox CustomMsg, told apart by what they hold.

    Raises InputError as `decode_cloud`, `decode_compressed_cloud` and `decode_livox` do.
    """
    if hasattr(msg, 'compressed_data'):
        return decode_compressed_cloud(msg)
    if hasattr(msg, 'timebase') and hasattr(msg, 'points'):
        return decode_livox(msg)
    return decode_cloud(msg)
