# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that ship with the package, and the exported files beside them."""

from __future__ import annotations

import os
from pathlib import Path

from attention_fusion_ros.utils.digest import file_digest

SHIPPED = Path(__file__).parents[1] / 'weights' / 'default.safetensors'


def path_of(name: str) -> Path:
    """The file that a name stands for: '' is the default one, a bare name one that ships beside it, else a path, in
    which `~` is home: no shell expands it in parameters.
    """
    if not name:
        return SHIPPED
    beside = SHIPPED.with_name(name + SHIPPED.suffix) if Path(name).name == name else None
    return beside if beside is not None and beside.is_file() else Path(os.path.expanduser(name))


def exported_beside(name: str) -> Path | None:
    """The .onnx file that ships beside the checkpoint of that name (see `path_of`), None where there is none.

    It must have been made of that very checkpoint: the digest of the file is part of its description.
    """
    checkpoint = path_of(name)
    exported = checkpoint.with_suffix('.onnx')
    if checkpoint.parent != SHIPPED.parent or not exported.is_file():
        return None
    made_of_it = file_digest(checkpoint).encode() in exported.read_bytes() if checkpoint.is_file() else True
    return exported if made_of_it else None
