# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The message types that recordings are read with where they hold no definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attention_fusion_ros.decode.definitions import DEFINITIONS

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


def typestore() -> Typestore:
    """The standard types, as they are since Humble, and those of `decode.definitions`."""
    # Imported here: only reading recordings needs it, and it takes a while to import.
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    store = get_typestore(Stores.LATEST)
    for name, definition in DEFINITIONS.items():
        store.register(get_types_from_msg(definition, name))
    return store
