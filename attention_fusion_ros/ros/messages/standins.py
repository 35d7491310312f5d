# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Message classes for where ROS is not installed, from the definitions that come with rosbags.

They take the same keyword arguments, have the same constants and defaults, and become the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.LATEST)
DEFAULTS = {('geometry_msgs/msg/Quaternion', 'w'): 1.0}  # those in definitions, which rosbags leaves out


@cache
def standin(type_name: str) -> Any:
    """`geometry_msgs/msg/Point` -> its class. Raises KeyError for a type that ROS 2 does not come with."""
    makers = {name: partial(DEFAULTS.get, (type_name, name)) if (type_name, name) in DEFAULTS else _maker(*kind)
              for name, kind in STORE.fielddefs[type_name][1]}

    def __init__(self: Any, **given: Any) -> None:
        unknown = set(given) - set(makers)
        if unknown:
            raise TypeError(f'{type_name} has no field {", ".join(sorted(unknown))}')
        for name, make in makers.items():
            setattr(self, name, given[name] if name in given else make())

    base = STORE.types[type_name]
    return type(type_name.rpartition('/')[2], (base,), {'__init__': __init__, '__module__': __name__})


def serialize(message: Any) -> bytes:
    """A message of a stand-in as CDR bytes."""
    _make_arrays(message, message.__msgtype__)
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def _maker(kind: Nodetype, of: Any) -> Callable[[], Any]:
    """What a field holds as long as it is not set."""
    if kind == Nodetype.NAME:
        return lambda: standin(of)()
    if kind == Nodetype.BASE:
        value = {'string': '', 'wstring': '', 'bool': False}.get(of[0], 0.0 if of[0].startswith('float') else 0)
        return lambda: value
    (inner, inner_of), length = of
    if inner == Nodetype.BASE and inner_of[0] not in ('string', 'wstring'):
        return lambda: np.zeros(length if kind == Nodetype.ARRAY else 0, _dtype(inner_of[0]))
    if kind == Nodetype.ARRAY:
        make = _maker(inner, inner_of)
        return lambda: [make() for _ in range(length)]
    return list


def _make_arrays(message: Any, type_name: str) -> None:
    """Lists and array.array of numbers become numpy arrays, which is what rosbags writes."""
    fields: Sequence[tuple[str, tuple[Any, Any]]] = STORE.fielddefs[type_name][1]
    for name, (kind, of) in fields:
        if kind == Nodetype.NAME:
            _make_arrays(getattr(message, name), of)
        elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            (inner, inner_of), _ = of
            if inner == Nodetype.NAME:
                for item in getattr(message, name):
                    _make_arrays(item, inner_of)
            elif inner_of[0] not in ('string', 'wstring'):
                setattr(message, name, np.asarray(getattr(message, name), _dtype(inner_of[0])))


def _dtype(name: str) -> np.dtype:
    return np.dtype({'byte': 'uint8', 'char': 'uint8', 'octet': 'uint8'}.get(name, name))
