# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A network in CUDA graphs: hundreds of small kernels that the host starts with one call.

A graph is captured for each combination of shapes, when it comes for the first time, and tried once against the network
itself. Where it cannot be captured, or does not give the same, everything runs as before, with one warning.
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

MOST_GRAPHS = 4  # shapes at a time; a node has one, and another without a prior
WARM_UPS = 3  # runs before the capture, on a stream of their own
TOLERANCE = 1e-3  # of a graph's numbers against the network's, relative to the largest
Given = Sequence[Tensor | None]


class Graph(Protocol):
    """A captured call."""

    def __call__(self, *given: Tensor | None) -> Any:
        """Run it with other tensors of the same shapes; what it returns is written over by the next call."""


Capture = Callable[[Callable[..., Any], Given], Graph]


class Graphed:
    """A function of tensors, some of them None, that gives the same as before and starts faster. Not thread-safe."""

    def __init__(self, function: Callable[..., Any], capture: Capture | None = None):
        self._function, self._capture = function, capture or capture_cuda
        self._graphs: dict[tuple[Any, ...], Graph] = {}
        self.fallback = ''  # why no graph is used, '' while they are

    def __call__(self, *given: Tensor | None) -> Any:
        """The function's result, the caller's own."""
        if self.fallback:
            return self._function(*given)
        key = tuple(None if t is None else (t.shape, t.dtype, t.device, t.stride()) for t in given)
        try:
            graph = self._graphs.get(key)
            if graph is None:
                graph = self._captured(given)
                if len(self._graphs) >= MOST_GRAPHS:
                    del self._graphs[next(iter(self._graphs))]
                self._graphs[key] = graph
            return _mapped(torch.clone, graph(*given))
        except Exception as error:  # those of CUDA and of what cannot be captured are of many kinds
            self.fallback = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self._graphs.clear()
            logger.warning('the network runs without a CUDA graph, which takes longer: %s', self.fallback)
        return self._function(*given)

    def _captured(self, given: Given) -> Graph:
        expected = self._function(*given)
        graph = self._capture(self._function, given)
        for a, b in zip(_tensors(expected), _tensors(graph(*given)), strict=True):
            if a.is_floating_point() and not _same(a, b):
                raise RuntimeError('the graph does not give what the network gives')
        return graph


def _same(a: Tensor, b: Tensor) -> bool:
    scale = a.abs().amax().clamp(min=1.0) if a.numel() else a.new_ones(())
    return a.shape == b.shape and bool(((a - b).abs() <= TOLERANCE * scale).all())


def _mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A result, such as a NetworkOutput, with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(change, inner) for name, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{f.name: _mapped(change, getattr(value, f.name))
                                             for f in dataclasses.fields(value)})
    return value


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor
    _mapped(note, value)
    return found


def capture_cuda(function: Callable[..., Any], given: Given) -> Graph:
    """Capture a call on the device of the tensors. Raises RuntimeError where that is not possible."""
    inputs = [None if t is None else t.clone(memory_format=torch.preserve_format) for t in given]
    device = next(t.device for t in inputs if t is not None)
    with torch.cuda.device(device):  # streams are made on the current one
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                function(*inputs)
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # What other threads do on the device meanwhile, allocate for example, is no business of the capture.
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):
            result = function(*inputs)

    def replay(*new: Tensor | None) -> Any:
        for target, source in zip(inputs, new, strict=True):
            if target is not None and source is not None:
                target.copy_(source, non_blocking=True)
        graph.replay()
        return result
    return replay
