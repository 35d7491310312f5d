# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Compile every Triton kernel to machine code of a GPU that is not there, as the wrappers launch them.

The wrappers run on the CPU with a driver that names a GPU; launches compile and do nothing else, so that what comes
out means nothing. Prints a line of JSON for every kernel, with the most that one of its variants takes; ends with 1
when one of them does not compile. Run by test_compiles.py, and by tools/gpu_check.py, in a process of its own. What is
compiled is kept in Triton's cache, so that a GPU of that kind need not wait for it.

    --choice NAME  all; few: one type of numbers and the small shapes; check: what tools/gpu_check.py runs
    --workers N    so many processes
    --launchers    also what starts the kernels, which needs the driver of a GPU
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from support.kernel_cases import CASES
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from attention_fusion_ros.bev.grid import Grid
from attention_fusion_ros.bev.place import Placed
from attention_fusion_ros.bev.sweep import Look
from attention_fusion_ros.kernels.fast.cbam_triton import cbam_triton
from attention_fusion_ros.kernels.fast.sweep_triton import sample_planes_triton, sweep_grids_triton

CAPABILITY = 90  # H100, H200
LARGE = ((1, 64, 256, 256), (1, 128, 128, 128), (8, 40, 64, 64))
SMALL = ((2, 5, 6, 7), (1, 1, 3, 5), (1, 3, 1, 1))


class Target:
    """A driver of a GPU that is not there."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget('cuda', CAPABILITY, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


compiled: dict[str, Any] = {}  # hash -> kernel
_run = JITFunction.run


def _compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
    kernel = _run(self, *args, grid=grid, warmup=True, **kwargs)
    compiled.setdefault(kernel.hash, kernel)
    if self.fn.__name__ == '_lowest':  # as if points had been found: the host asks
        args[3].fill_(1)
    return kernel


def _both_ways(arguments: tuple[Any, ...]) -> None:
    """CBAM forward and backward."""
    leaves = [a.detach().clone(memory_format=torch.preserve_format).requires_grad_() if isinstance(a, torch.Tensor)
              else a for a in arguments]
    outputs = cbam_triton(*leaves)
    torch.autograd.grad(sum(o.float().sum() for o in outputs), [a for a in leaves if isinstance(a, torch.Tensor)])


def _cbam(choice: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    for dtype in (torch.float32,) if choice == 'few' else (torch.float32, torch.float16, torch.bfloat16):
        shapes = {'all': (*LARGE, *SMALL), 'few': SMALL, 'check': LARGE if dtype is torch.float16 else ()}[choice]
        for shape in shapes:
            for layout in (torch.contiguous_format, torch.channels_last):
                x = torch.zeros(shape, dtype=dtype).contiguous(memory_format=layout)
                width = max(1, shape[1] // 16)
                given = (x, *(None if size is None else torch.zeros(size, dtype=dtype) for size in (
                    (width, shape[1]), None, (shape[1], width), None, (1, 2, 7, 7), None)))
                yield f'cbam {shape} {dtype} {layout}', partial(_both_ways, given)
        for i, arguments in enumerate(CASES['cbam'](torch.Generator().manual_seed(0), dtype)):
            yield f'cbam case {i} {dtype}', partial(_both_ways, arguments)


def _grids(choice: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    every = choice != 'check'
    for points in (1, 16, 1500) if every else (1500,):
        for grid in (Grid(), Grid(25, 120)) if every else (Grid(),):  # whole metres are no floats to a compiler
            for min_range, max_height in ((1.8, 6.0), (0, 3)) if every else ((1.8, 6.0),):
                sweep = Placed(torch.zeros(points, 3), torch.zeros(points), np.eye(4))
                earlier = [Placed(torch.zeros(7, 3), torch.zeros(7))] if points > 1 else []
                yield f'sweep_grids {points} {grid} {min_range}', partial(
                    sweep_grids_triton, sweep, earlier, [Look(((0, points),), 0.0, 0.0)], grid, min_range, max_height)
    for rows, columns in ((320, 320), (1, 1), (640, 17)) if every else ((640, 640),):
        for planes in (1, 2):
            yield f'sample_planes {rows} {columns} {planes}', partial(
                sample_planes_triton, [torch.zeros(rows, columns)] * planes, np.eye(3), (0, 1.0), 0.25, Grid())


def _resources(kernel: Any) -> tuple[int, int]:
    """Registers of a thread, and bytes of its stack, to which it spills."""
    tool = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        Path(file.name).write_bytes(kernel.asm['cubin'])
        said = subprocess.run([str(tool), '-res-usage', file.name], capture_output=True, text=True).stdout
    found = dict(re.findall(r'\b(REG|STACK|LOCAL):(\d+)', said))
    return int(found.get('REG', 0)), int(found.get('STACK', 0)) + int(found.get('LOCAL', 0))


def _build(share: int, shares: int, choice: str, launchers: bool) -> tuple[list[str], dict[str, list[int]]]:
    """Every so many-th case: what failed, and name -> [variants, registers, stack and shared memory in bytes]."""
    torch.set_num_threads(1)
    driver.set_active(Target())  # type: ignore[arg-type]
    JITFunction.run = _compile_only  # type: ignore[method-assign]
    failed, most = [], {}
    for name, call in [*_cbam(choice), *_grids(choice)][share::shares]:
        for deterministic in (False, True) if name.startswith('sweep_grids') else (False,):
            torch.use_deterministic_algorithms(deterministic, warn_only=True)
            try:
                call()
            except Exception:
                failed.append(f'FAILED {name}, deterministic {deterministic}\n{traceback.format_exc()}')
    for kernel in compiled.values():
        if launchers:
            with suppress(Exception):  # they are made again when they are needed
                importlib.import_module('triton.backends.nvidia.driver').CudaLauncher(kernel.src, kernel.metadata)
        row = most.setdefault(kernel.metadata.name, [0, 0, 0, 0])
        row[:] = row[0] + 1, *map(max, row[1:], (*_resources(kernel), kernel.metadata.shared))
    return failed, most


def main() -> int:
    """Every case; 1 when one does not compile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--choice', choices=('all', 'few', 'check'), default='all')
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--launchers', action='store_true')
    options = parser.parse_args()
    given = [(k, options.workers, options.choice, options.launchers) for k in range(options.workers)]
    if options.workers == 1:
        results = [_build(*given[0])]
    else:  # forked: torch is imported once
        with multiprocessing.get_context('fork').Pool(options.workers) as pool:
            results = pool.starmap(_build, given)
    most: dict[str, list[int]] = {}
    for _, rows in results:
        for name, row in rows.items():
            most[name] = list(map(max, most.get(name, row), row))
    for name, (variants, registers, stack, shared) in sorted(most.items()):
        print(json.dumps({'kernel': name, 'variants': variants, 'registers': registers, 'stack_bytes': stack,
                          'shared_bytes': shared}))
    failed = [text for texts, _ in results for text in texts]
    print('\n'.join(failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
