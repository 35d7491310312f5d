# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""torch, imported when something of it is used for the first time.

What stands between messages and results works on tensors and on arrays. A module that needs torch for tensors alone
imports it from here: where nothing is a tensor (backend onnxruntime or openvino on the CPU, with compiled loops), torch
is not imported, and need not be installed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

__all__ = ['F', 'Tensor', 'inference_mode', 'is_loaded', 'torch', 'without_gradients']

P = ParamSpec('P')
R = TypeVar('R')


def is_loaded() -> bool:
    """Whether torch has been imported. Where it has not, nothing is a tensor."""
    return sys.modules.get('torch') is not None


def inference_mode() -> AbstractContextManager[Any]:
    """`torch.inference_mode()` where torch has been imported, else nothing."""
    if not is_loaded():
        return nullcontext()
    context: AbstractContextManager[Any] = torch.inference_mode()
    return context


def without_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: within the function nothing is kept for gradients, as with `torch.inference_mode`."""
    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with inference_mode():
            return function(*args, **kwargs)
    return called


class _Later(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class _TensorLater:
    """For `isinstance`: nothing is a tensor before torch has been imported."""

    def __instancecheck__(self, value: object) -> bool:
        return is_loaded() and isinstance(value, sys.modules['torch'].Tensor)


if not TYPE_CHECKING:
    torch, F, Tensor = _Later('torch'), _Later('torch.nn.functional'), _TensorLater()
