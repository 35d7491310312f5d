# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Kernels one by one: they compile, give the numbers of plain torch in float64, and take so long."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpu_kit.check import FOLDER, Check, medians, say

FOR_CPUS = ('numba',)  # versions that no GPU runs
ON_THE_GRID = ('sweep_grids', 'sample_planes')  # operations that `bev` compares: cells, not numbers, decide there
POINTS = (30_000, 120_000, 300_000)
WORKERS = 12


def machine(check: Check) -> dict[str, Any]:
    """What this runs on, and the bandwidth of a copy in GB/s (bytes read and written)."""
    size = 1 << (20 if check.dry else 30)
    source = torch.empty(size, dtype=torch.uint8, device=check.device)
    target = torch.empty_like(source)
    _, median, _ = check.milliseconds(lambda: target.copy_(source), 20)
    versions = {}
    for package in ('triton', 'numpy', 'numba', 'timm'):
        try:
            versions[package] = str(importlib.import_module(package).__version__)
        except Exception as error:  # numba refuses some versions of numpy
            versions[package] = f'none ({str(error)[:80]})'
    return {'device': torch.cuda.get_device_name() if check.cuda else platform.processor() or 'CPU',
            'cores': os.cpu_count(), 'torch': torch.__version__, 'cuda': torch.version.cuda,
            'python': platform.python_version(), **versions, 'copy_gb_s': 2 * size / median / 1e6}


def compiled(check: Check) -> list[dict[str, Any]]:
    """All Triton kernels, and the loops of the CPU, compiled by several processes for the parts after this one."""
    from attention_fusion_ros.kernels.compiled import LOOPS
    given = ['--choice', 'few'] if check.dry else ['--choice', 'check', '--launchers', '--workers',
                                                   str(min(WORKERS, os.cpu_count() or 1))]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(FOLDER), str(FOLDER / 'test')]),
                   'CUDA_VISIBLE_DEVICES': '', 'TRITON_INTERPRET': ''}

    def start(*command: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, *command], cwd=FOLDER, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=environment)
    loops = [start('-c', f'import attention_fusion_ros.kernels.loops.{name}') for name in LOOPS]
    triton, rows = start('test/kernels/compile_for_hopper.py', *given), []
    try:
        for name, process in ((*zip(LOOPS, loops), ('Triton', triton)) if triton_is_there() else zip(LOOPS, loops)):
            text, _ = process.communicate(timeout=max(10.0, check.left_s))
            if process.returncode and process is triton:
                check.failed['compile'] = 'a kernel does not compile, or what compiles it failed: see the log'
                check.traces['compile'] = text
            if process.returncode:  # loops that numba does not compile here run in plain torch
                say(name, text[-6000:])
            rows += [json.loads(line) for line in text.splitlines() if line.startswith('{')]
    finally:
        for process in (*loops, triton):
            process.kill()
    for row in rows:
        say('   ', row)
    return rows


def triton_is_there() -> bool:
    """Whether Triton is installed; it is not imported for that."""
    return importlib.util.find_spec('triton') is not None


def parity(check: Check) -> dict[str, dict[str, float]]:
    """Largest difference of every fast version, and of plain torch, from plain torch in float64: outputs, gradients.

    Differences are relative to the largest value. A version passes where it is no worse than twice plain torch in the
    same type, or below 1e-5.
    """
    sys.path.insert(0, str(FOLDER / 'test'))
    from support.kernel_cases import CASES

    from attention_fusion_ros.kernels import operations
    table = check.found.setdefault('parity', {})
    for name, operation in operations().items():
        for version in () if name in ON_THE_GRID else operation.versions:
            if version.name in FOR_CPUS or version.arrays_only or check.device.type not in version.devices:
                continue
            if not version.available():
                continue
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                what = f'{name} {version.name} {str(dtype)[6:]}'
                row = check.attempt(f'parity of {what}', lambda given=(operation, version, dtype, CASES[name]):
                                    _compared(check, *given))
                if row is None:
                    continue
                table[what] = row
                say('   ', what, medians(row))
                if not row['passed']:
                    check.failed[f'parity of {what}'] = str(row)
    return table


def _compared(check: Check, operation: Any, version: Any, dtype: torch.dtype, cases: Any) -> dict[str, float]:
    worst = {'plain': 0.0, version.name: 0.0}
    for arguments in cases(torch.Generator().manual_seed(0), dtype):
        exact = _answers(operation.plain, arguments, check.device, torch.float64, version.differentiable)
        for label, function in (('plain', operation.plain), (version.name, version.function)):
            given = _answers(function, arguments, check.device, None, version.differentiable)
            worst[label] = max(worst[label], *(_apart(a, b) for a, b in zip(given, exact, strict=True)))
    return {**worst, 'passed': float(worst[version.name] <= max(2 * worst['plain'], 1e-5))}


def _answers(function: Callable[..., Any], arguments: tuple[Any, ...], device: torch.device,
             dtype: torch.dtype | None, differentiable: bool) -> list[Tensor]:
    given = []
    for a in arguments:
        if isinstance(a, Tensor):
            a = a.detach().to(device, dtype if dtype and a.is_floating_point() else a.dtype)
            a = a.requires_grad_(differentiable and a.is_floating_point())
        given.append(a)
    outputs = function(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    leaves = [a for a in given if isinstance(a, Tensor) and a.requires_grad]
    if not leaves:
        return [o.detach() for o in outputs]
    total = sum((o.double() * torch.linspace(0.5, 1.5, o.numel(), device=device).view(o.shape)).sum()
                for o in outputs if o.requires_grad)
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)  # type: ignore[arg-type]
    return [o.detach() for o in outputs] + [torch.zeros(()) if g is None else g for g in gradients]


def _apart(a: Tensor, exact: Tensor) -> float:
    a, exact = a.double().cpu(), exact.double().cpu()
    if not bool(torch.isfinite(a).all()):
        return float('inf')
    return float(((a - exact).abs().max() / exact.abs().max().clamp(min=1e-6)) if exact.numel() else 0.0)


def bev(check: Check) -> list[dict[str, Any]]:
    """A sweep, and a map, on the grid: difference of the Triton version from plain torch, repeatability, times, floor.

    The floor: coordinates are read twice, for the ground comes first, intensities once, and layers are written once.
    """
    import numpy as np

    from attention_fusion_ros.benchmarking import sweeps
    from attention_fusion_ros.bev.grid import Grid
    from attention_fusion_ros.bev.map_source import sample_planes
    from attention_fusion_ros.bev.place import Placed
    from attention_fusion_ros.bev.sweep import Look, sweep_grids
    from attention_fusion_ros.decode import decode_cloud
    grid, bandwidth, rows = Grid(), check.found['machine']['copy_gb_s'], check.found.setdefault('bev', [])
    layers = 4 * grid.cells ** 2
    for points in (1500,) if check.dry else POINTS:
        cloud = decode_cloud(sweeps.message(0, points))
        assert cloud.intensity is not None
        sweep = Placed(*(torch.from_numpy(np.array(v)).to(check.device) for v in (cloud.xyz, cloud.intensity)),
                       sweeps.T_BASE_SENSOR)
        given = sweep, [], [Look(((0, points),), 0.0, 0.0)], grid, 1.8, 6.0
        floor = (28 * points + 5 * layers) / bandwidth / 1e6
        rows.append(check.attempt(f'sweep_grids, {points} points',
                                  lambda given=given, n=points, f=floor: _on_the_grid(check, sweep_grids, given, n, f)))
    v, u = torch.meshgrid(torch.arange(640, device=check.device) / 40, torch.arange(640, device=check.device) / 30,
                          indexing='ij')
    # Smooth: between steep pixels, a millionth of one would show.
    planes = [0.5 + 0.5 * torch.sin(u + v), 0.5 + 0.5 * torch.cos(u - v)]
    given_map = planes, np.array([[0.9, -0.4, 3.0], [0.4, 0.9, -2.0], [0.0, 0.0, 1.0]]), (320.0, 320.0), 0.25, grid
    floor = (2 * planes[0].nbytes + 3 * layers) / bandwidth / 1e6
    rows.append(check.attempt('sample_planes', lambda: _on_the_grid(check, sample_planes, given_map, 0, floor)))
    rows[:] = [row for row in rows if row is not None]
    return rows


def _on_the_grid(check: Check, operation: Any, given: tuple[Any, ...], points: int, floor: float) -> dict[str, Any]:
    """One operation on the grid, plain and in Triton where that runs here."""
    from attention_fusion_ros.kernels import use
    row: dict[str, Any] = {'operation': operation.name, 'points': points, 'floor': floor}
    fast = next((v.function for v in operation.versions
                 if v.name == 'triton' and check.device.type in v.devices and v.available()), None)
    with torch.inference_mode(), use('plain'):
        expected = operation.plain(*given)
        row['plain'] = check.milliseconds(lambda: operation.plain(*given), 30)
        if fast is not None:
            torch.use_deterministic_algorithms(True, warn_only=True)
            first, second = (_flat(fast(*given)) for _ in range(2))
            torch.use_deterministic_algorithms(False)
            row['repeats'] = bool(torch.equal(first, second))
            row['apart'], row['numbers apart'] = _differ(first, _flat(expected))
            on_cpu = _flat(operation.plain(*_on_cpu(given))).to(check.device)
            row['apart from the CPU'], row['numbers apart from the CPU'] = _differ(first, on_cpu)
            row['triton'] = check.milliseconds(lambda: fast(*given), 30)
            # A point on the very edge of a cell may fall to either side: on CUDA, torch divides by a number by
            # multiplying with its inverse.
            allowed = 1e-4 * first.numel() + 1e-3 * points
            if not row['repeats'] or min(row['numbers apart'], row['numbers apart from the CPU']) > allowed:
                check.failed[f'{operation.name}, {points} points'] = str(medians(row))
    say('   ', medians(row))
    return row


def _differ(a: Tensor, b: Tensor) -> tuple[float, int]:
    """Largest difference, and how many differ by more than 1e-4."""
    apart = (a - b).abs().nan_to_num(nan=torch.inf)
    return float(apart.max()), int((apart > 1e-4).sum())


def _on_cpu(value: Any) -> Any:
    """Arguments with every tensor in them on the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*map(_on_cpu, value))
    return type(value)(map(_on_cpu, value)) if isinstance(value, (tuple, list)) else value


def _flat(result: Any) -> Tensor:
    return result.flatten() if isinstance(result, Tensor) else torch.cat([r.flatten() for r in result])
