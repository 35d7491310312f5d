# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parity and speed on a GPU, see gpu_check.sh. A part that fails is named, and costs the others nothing.

Times are medians with the 20 and 80 % points, of runs between CUDA events after warming up. The floor of an operation
is the bytes that it has to read and write, by the bandwidth of a copy in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parents[1]
LIMIT_S = 9 * 60
FOR_CPUS = ('numba',)  # versions that no GPU runs
ON_THE_GRID = ('sweep_grids', 'sample_planes')  # operations that `bev` compares: cells, not numbers, decide there
SHAPES = ((1, 64, 256, 256), (1, 128, 128, 128), (8, 40, 64, 64), (16, 64, 256, 256))
TINY = ((1, 4, 8, 8),)
POINTS = (30_000, 120_000, 300_000)


@dataclass
class Check:
    """What is measured with, and what was found."""

    device: torch.device
    dry: bool
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return LIMIT_S - (time.monotonic() - self.began)

    def run(self, name: str, part: Callable[[Check], Any], needs_s: float) -> None:
        """One part; left out when its time would not suffice."""
        if self.left_s < needs_s:
            self.failed[name] = f'left out: {self.left_s:.0f} s were left, it needs {needs_s:.0f} s'
        else:
            started = time.monotonic()
            try:
                self.found[name] = part(self)
            except Exception as error:  # the other parts still count
                traceback.print_exc()
                self.failed[name] = f'{type(error).__name__}: {error}'
            print(f'-- {name}: {time.monotonic() - started:.1f} s', self.failed.get(name, ''))

    def milliseconds(self, call: Callable[[], Any], runs: int = 50) -> list[float]:
        """[20 %, median, 80 %] of the time of a call."""
        runs, cuda = (2, False) if self.dry else (runs, self.device.type == 'cuda')
        for _ in range(1 if self.dry else 5):
            call()
        times = []
        for _ in range(runs):
            if cuda:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                call()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
            else:
                began = time.perf_counter()
                call()
                times.append(1e3 * (time.perf_counter() - began))
        times.sort()
        return [times[len(times) // 5], statistics.median(times), times[(4 * len(times)) // 5]]


def machine(check: Check) -> dict[str, Any]:
    """What this runs on, and the bandwidth of a copy in GB/s (bytes read and written)."""
    cuda = check.device.type == 'cuda'
    size = 1 << (20 if check.dry else 30)
    source = torch.empty(size, dtype=torch.uint8, device=check.device)
    target = torch.empty_like(source)
    _, median, _ = check.milliseconds(lambda: target.copy_(source), 20)
    try:
        import triton
        version = triton.__version__
    except ImportError:
        version = 'none'
    return {'device': torch.cuda.get_device_name() if cuda else platform.processor() or 'CPU',
            'torch': torch.__version__, 'cuda': torch.version.cuda, 'triton': version,
            'python': platform.python_version(), 'copy_gb_s': 2 * size / median / 1e6}


def parity(check: Check) -> dict[str, dict[str, float]]:
    """Largest difference of every fast version, and of plain torch, from plain torch in float64: outputs, gradients.

    Differences are relative to the largest value. A version passes where it is no worse than twice plain torch in the
    same type, or below 1e-5.
    """
    sys.path.insert(0, str(ROOT / 'test'))
    from support.kernel_cases import CASES

    from attention_fusion_ros.kernels import operations
    table: dict[str, dict[str, float]] = {}
    for name, operation in operations().items():
        for version in () if name in ON_THE_GRID else operation.versions:
            if version.name in FOR_CPUS or version.arrays_only or check.device.type not in version.devices:
                continue
            if not version.available():
                continue
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                worst = {'plain': 0.0, version.name: 0.0}
                for arguments in CASES[name](torch.Generator().manual_seed(0), dtype):
                    exact = _answers(operation.plain, arguments, check.device, torch.float64, version.differentiable)
                    for label, function in (('plain', operation.plain), (version.name, version.function)):
                        given = _answers(function, arguments, check.device, None, version.differentiable)
                        worst[label] = max(worst[label], *(_apart(a, b) for a, b in zip(given, exact, strict=True)))
                passed = worst[version.name] <= max(2 * worst['plain'], 1e-5)
                table[f'{name} {version.name} {str(dtype)[6:]}'] = {**worst, 'passed': float(passed)}
                if not passed:
                    check.failed[f'parity of {name}, {version.name}, {dtype}'] = str(worst)
    return table


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
    return float(((a - exact).abs().max() / exact.abs().max().clamp(min=1e-6)) if exact.numel() else 0.0)


def attention(check: Check) -> list[dict[str, Any]]:
    """CBAM forward, and forward with backward: parts in plain torch, compiled by torch, in Triton, and the floor."""
    from attention_fusion_ros.kernels import cbam
    fast = next((v.function for v in cbam.versions if check.device.type in v.devices and v.available()), None)
    bandwidth = check.found['machine']['copy_gb_s']
    rows = []
    for shape, channels_last in [(s, last) for s in (TINY if check.dry else SHAPES) for last in (False, True)]:
        _, C, _, _ = shape
        dtype = torch.float32 if check.dry else torch.float16
        x = torch.randn(shape, device=check.device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        R = max(1, C // 16)
        weights = [torch.randn(size, device=check.device, dtype=dtype) * 0.1 for size in ((R, C), (C, R), (1, 2, 7, 7))]
        arguments = (x, weights[0], None, weights[1], None, weights[2], None)
        size = x.numel() * x.element_size()
        row: dict[str, Any] = {'shape': shape, 'channels_last': channels_last, 'dtype': str(dtype)[6:],
                               'forward floor': 4 * size / bandwidth / 1e6,  # three reads and a write
                               'both floor': 11 * size / bandwidth / 1e6}
        versions: dict[str, Callable[..., Any] | None] = {'plain': cbam.plain, 'triton': fast}
        if not check.dry and check.left_s > 240:
            torch._dynamo.reset()
            versions['compiled'] = torch.compile(cbam.plain, mode='max-autotune')
        for name, function in versions.items():
            if function is None:
                continue
            with torch.no_grad():
                row[f'forward {name}'] = check.milliseconds(lambda f=function, given=arguments: f(*given))
            leaves = [a.detach().clone(memory_format=torch.preserve_format).requires_grad_()
                      for a in (x, *weights)]
            gradient = torch.randn_like(x)

            def both(f: Callable[..., Any] = function, leaves: list[Tensor] = leaves,
                     gradient: Tensor = gradient) -> None:
                y, _, _ = f(leaves[0], leaves[1], None, leaves[2], None, leaves[3], None)
                torch.autograd.grad(y, leaves, gradient)
            row[f'both {name}'] = check.milliseconds(both)
        rows.append(row)
        print('   ', {k: v[1] if isinstance(v, list) else v for k, v in row.items()})
    return rows


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
    grid, bandwidth, rows = Grid(), check.found['machine']['copy_gb_s'], []
    layers = 4 * grid.cells ** 2
    for points in (1500,) if check.dry else POINTS:
        cloud = decode_cloud(sweeps.message(0, points))
        assert cloud.intensity is not None
        sweep = Placed(*(torch.from_numpy(np.array(v)).to(check.device) for v in (cloud.xyz, cloud.intensity)),
                       sweeps.T_BASE_SENSOR)
        given = sweep, [], [Look(((0, points),), 0.0, 0.0)], grid, 1.8, 6.0
        rows.append(_on_the_grid(check, sweep_grids, given, points, (28 * points + 5 * layers) / bandwidth / 1e6))
    planes = [torch.rand(640, 640, device=check.device) for _ in range(2)]
    given_map = planes, np.array([[0.9, -0.4, 3.0], [0.4, 0.9, -2.0], [0.0, 0.0, 1.0]]), (320.0, 320.0), 0.25, grid
    rows.append(_on_the_grid(check, sample_planes, given_map, 0, (2 * planes[0].nbytes + 3 * layers) / bandwidth / 1e6))
    return rows


def _on_the_grid(check: Check, operation: Any, given: tuple[Any, ...], points: int, floor: float) -> dict[str, Any]:
    """One operation on the grid, plain and in Triton where that runs here."""
    from attention_fusion_ros.kernels import use
    row: dict[str, Any] = {'operation': operation.name, 'points': points, 'floor': floor}
    fast = next((v.function for v in operation.versions
                 if v.name == 'triton' and check.device.type in v.devices and v.available()), None)
    with use('plain'):
        expected = operation.plain(*given)
        row['plain'] = check.milliseconds(lambda: operation.plain(*given))
    if fast is not None:
        torch.use_deterministic_algorithms(True, warn_only=True)
        first, second = (_flat(fast(*given)) for _ in range(2))
        torch.use_deterministic_algorithms(False)
        row['repeats'] = bool(torch.equal(first, second))
        apart = (first - _flat(expected)).abs()
        row['apart'], row['cells apart'] = float(apart.max()), int((apart > 1e-4).sum())
        row['triton'] = check.milliseconds(lambda: fast(*given))
        # A point on the very edge of a cell may fall to either side where torch contracts products.
        if not row['repeats'] or row['cells apart'] > 1e-4 * first.numel():
            check.failed[f'{operation.name}, {points} points'] = str(row)
    print('   ', {k: v[1] if isinstance(v, list) else v for k, v in row.items()})
    return row


def _flat(result: Any) -> Tensor:
    return result.flatten() if isinstance(result, Tensor) else torch.cat([r.flatten() for r in result])


def pipeline(check: Check) -> list[dict[str, Any]]:
    """From the bytes of a message to the direction, by stage, ms."""
    from attention_fusion_ros.benchmarking import core
    from attention_fusion_ros.config import NodeConfig
    rows = []
    for points in (3000,) if check.dry else POINTS:
        found = core.measure(NodeConfig(device=str(check.device)), 2 if check.dry else 300, points)
        rows.append({'points': points, **{stage: [t.median, t.p95, t.p99] for stage, t in found.stages.items()}})
        print('   ', rows[-1])
    return rows


def training(check: Check) -> dict[str, Any]:
    """Steps a second of the network of config/train.yaml on made-up samples."""
    from attention_fusion_ros.bev.lidar import CHANNELS
    from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
    from attention_fusion_ros.network.config import NetworkConfig
    from attention_fusion_ros.network.model import FusionNetwork
    config = NetworkConfig()
    network = FusionNetwork(config).to(check.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    found = {}
    for batch in (2,) if check.dry else (32, 128):
        lidar = torch.rand(batch, len(CHANNELS), config.cells, config.cells, device=check.device)
        drawn = torch.rand(batch, len(MAP_CHANNELS), config.cells, config.cells, device=check.device)

        def step(lidar: Tensor = lidar, drawn: Tensor = drawn) -> None:
            with torch.autocast(check.device.type, dtype=torch.bfloat16, enabled=not check.dry):
                loss = network(lidar, drawn).head.float().square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        _, median, _ = check.milliseconds(step, 20)
        found[f'batch {batch}'] = {'ms': median, 'samples_per_s': 1e3 * batch / median}
    return found


def lines(check: Check) -> Iterator[str]:
    """The findings as markdown."""
    found = check.found
    yield '# Checks on a GPU\n' if not check.dry else '# Dry run: sizes are tiny, times mean nothing\n'
    yield '\n'.join(f'- {k}: {v:.0f}' if isinstance(v, float) else f'- {k}: {v}'
                    for k, v in found.get('machine', {}).items()) + '\n'
    if 'parity' in found:
        yield '## Largest relative difference from float64\n\n| operation, version, type | plain | version | |'
        yield '|---|---|---|---|'
        for name, row in found['parity'].items():
            version = next(v for k, v in row.items() if k not in ('plain', 'passed'))
            yield f"| {name} | {row['plain']:.1e} | {version:.1e} | {'' if row['passed'] else 'FAILED'} |"
        yield ''
    for row in found.get('attention', []):
        yield f"## CBAM {row['shape']}, {row['dtype']}, {'channels last' if row['channels_last'] else 'contiguous'}\n"
        yield '| | floor | ' + ' | '.join(k[8:] for k in row if k.startswith('forward ') and 'floor' not in k) + ' |'
        yield '|---|---|' + '---|' * sum(k.startswith('forward ') and 'floor' not in k for k in row)
        for what in ('forward', 'both'):
            yield f"| {what} [ms] | {row[f'{what} floor']:.4f} | " + ' | '.join(
                f'{v[1]:.4f} ({v[0]:.4f}, {v[2]:.4f})' for k, v in row.items()
                if k.startswith(f'{what} ') and isinstance(v, list)) + ' |'
        yield ''
    for row in found.get('bev', []):
        times = ', '.join(f'{k} {row[k][1]:.4f} ({row[k][0]:.4f}, {row[k][2]:.4f})' for k in ('plain', 'triton')
                          if k in row)
        yield (f"- {row['operation']}, {row['points']} points [ms]: floor {row['floor']:.4f}, {times}"
               + (f"; at most {row['apart']:.1e} from plain torch, {row['cells apart']} numbers above 1e-4, "
                  f"{'the same' if row['repeats'] else 'NOT the same'} when repeated" if 'apart' in row else ''))
    for row in found.get('pipeline', []):
        yield f"## Bytes to direction, {row['points']} points: median, p95, p99 [ms]\n"
        yield '\n'.join(f'- {k}: ' + ', '.join(f'{x:.2f}' for x in v) for k, v in row.items() if k != 'points') + '\n'
    for name, row in found.get('training', {}).items():
        yield f"- training, {name}: {row['ms']:.1f} ms a step, {row['samples_per_s']:.0f} samples a second"
    for name, why in check.failed.items():
        yield f'- **{name}**: {why}'


def ledger_rows(check: Check) -> Iterator[Any]:
    """The times as rows of the ledger, see `benchmarking.ledger`."""
    import datetime

    from attention_fusion_ros.benchmarking.ledger import Row
    from attention_fusion_ros.utils.provenance import commit
    device, end = str(check.found.get('machine', {}).get('device', check.device)), (commit(),
                                                                                    datetime.date.today().isoformat())
    for row in check.found.get('bev', []):
        for name in ('plain', 'triton'):
            if name in row:
                low, median, high = row[name]
                yield Row(row['operation'], name, str(row['points']), 'ms', median, low, high, device, *end)
    for row in check.found.get('attention', []):
        size = f"{'x'.join(map(str, row['shape']))} {row['dtype']}{' channels last' if row['channels_last'] else ''}"
        for name, times in row.items():
            if isinstance(times, list):
                what, provider = name.split(' ', 1)
                low, median, high = times
                yield Row(f'cbam {what}', provider, size, 'ms', median, low, high, device, *end)


def main() -> int:
    """All parts; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--dry-run', action='store_true')
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        print('no CUDA device: nothing to check. Remedy: run it on a machine with one, or with --dry-run.')
        return 2
    check = Check(torch.device('cpu' if options.dry_run else 'cuda'), options.dry_run)
    for name, part, needs_s in (('machine', machine, 5), ('parity', parity, 30), ('attention', attention, 60),
                                ('bev', bev, 30), ('pipeline', pipeline, 30), ('training', training, 20)):
        check.run(name, part, needs_s)
        options.out.mkdir(parents=True, exist_ok=True)
        record = {'found': check.found, 'failed': check.failed}
        from attention_fusion_ros.utils import atomic
        atomic.write_json(options.out / 'gpu_check.json', record)
        atomic.write_text(options.out / 'gpu_check.md', '\n'.join(lines(check)) + '\n')
    if not options.dry_run:
        from attention_fusion_ros.benchmarking import ledger
        ledger.add(options.out / 'ledger.csv', ledger_rows(check))
    print((options.out / 'gpu_check.md').read_text())
    return 1 if check.failed else 0


if __name__ == '__main__':
    os.environ.setdefault('TORCHINDUCTOR_CACHE_DIR', str(Path.home() / '.cache' / 'inductor'))
    sys.exit(main())
