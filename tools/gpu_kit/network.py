# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a GPU: how long it takes, where it waits, what it starts; the network in a graph; training."""

from __future__ import annotations

import copy
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpu_kit.check import Check, medians, say

POINTS = (120_000, 30_000, 300_000)
RUNS = 200
WARM_UP = 5
PROFILED = 20  # sweeps
STAGES = ('decode', 'bev', 'network', 'postprocess', 'total')


class Sweeps:
    """Pipelines of one device, and messages for them."""

    def __init__(self, check: Check, points: int, versions: tuple[str, ...] = ('auto',)):
        from attention_fusion_ros.benchmarking import sweeps
        from attention_fusion_ros.config import NodeConfig
        from attention_fusion_ros.contracts import Motion
        from attention_fusion_ros.decode import decode_map_image, plain_messages
        from attention_fusion_ros.pipeline.fusion import FusionPipeline
        self.pipelines = {version: FusionPipeline(NodeConfig(device=str(check.device), backend='torch',
                                                             kernels=version)) for version in versions}
        self.messages = [sweeps.message(seed, points) for seed in range(4)]
        self.image = decode_map_image(plain_messages.image(sweeps.map_picture(), 10**9))
        self.motion = Motion(sweeps.T_BASE_SENSOR)

    def run(self, i: int, version: str = 'auto') -> tuple[Any, dict[str, float]]:
        """The i-th sweep from its message -> result, and ms of its stages."""
        from attention_fusion_ros.contracts import SyncedSweep
        from attention_fusion_ros.decode import decode_cloud
        from attention_fusion_ros.kernels import chosen
        start = time.perf_counter()
        with chosen(version):
            cloud = decode_cloud(self.messages[i % len(self.messages)])
        decoded = 1e3 * (time.perf_counter() - start)
        cloud = replace(cloud, stamp_ns=10**9 + i * 10**8)
        result = self.pipelines[version].run(SyncedSweep(cloud, self.motion, self.image))
        return result, {'decode': decoded, **result.stage_ms, 'total': 1e3 * (time.perf_counter() - start)}

    def close(self) -> None:
        """Give the memory back."""
        for one in self.pipelines.values():
            one.close()


def pipeline(check: Check) -> list[dict[str, Any]]:
    """From the bytes of a message to the direction, by stage: [median, p95, p99] ms; default and plain in turn."""
    import numpy as np
    rows = check.found.setdefault('pipeline', [])
    for points in (3000,) if check.dry else POINTS:
        work = Sweeps(check, points, ('auto', 'plain'))
        times: dict[tuple[str, str], list[float]] = {}
        modes: Counter[str] = Counter()
        for i in range(-WARM_UP, 2 if check.dry else RUNS):
            for version in ('auto', 'plain') if i % 2 else ('plain', 'auto'):
                result, spent = work.run(i + WARM_UP, version)
                modes[result.mode.value] += 1
                for stage, ms in spent.items() if i >= 0 else ():
                    times.setdefault((version, stage), []).append(ms)
        row: dict[str, Any] = {'points': points, 'modes': dict(modes)}
        for stage in STAGES:
            for version in ('auto', 'plain'):
                row[f'{stage} {version}'] = np.percentile(times[version, stage], (50, 95, 99)).tolist()
            pairs = np.array(times['plain', stage]) / np.array(times['auto', stage])
            row[f'{stage} ratio'] = np.percentile(pairs, (20, 50, 80)).tolist()
        rows.append(row)
        say('   ', {k: [round(x, 3) for x in v] if isinstance(v, list) else v for k, v in row.items()})
        check.save()
        work.close()
    return rows


def waits(check: Check) -> dict[str, int]:
    """Place in the package -> how often the host waited there for the device, in one sweep of each version.

    The pipeline's own `synchronize` after each stage is not among them: torch does not count it.
    """
    found: Counter[str] = Counter()
    work = Sweeps(check, 3000 if check.dry else 120_000, ('auto', 'plain'))
    for version in work.pipelines:
        for i in range(3):
            work.run(i, version)

        def show(message: Any, *_: Any, version: str = version, **__: Any) -> None:
            if 'synchronizing' in str(message):
                inner = [f for f in traceback.extract_stack() if 'attention_fusion_ros' in f.filename
                         and 'gpu_kit' not in f.filename]
                place = f'{inner[-1].filename.rpartition("attention_fusion_ros/")[2]}:{inner[-1].lineno}' \
                    f' `{inner[-1].line}`' if inner else 'elsewhere'
                found[f'{version}: {place}'] += 1
        with warnings.catch_warnings():
            warnings.simplefilter('always')
            warnings.showwarning = show  # type: ignore[assignment]
            torch.set_warn_always(True)
            if check.cuda:
                torch.cuda.set_sync_debug_mode('warn')
            try:
                work.run(3, version)
            finally:
                if check.cuda:
                    torch.cuda.set_sync_debug_mode('default')
                torch.set_warn_always(False)
    work.close()
    for place, count in found.most_common():
        say('   ', count, place)
    return dict(found)


def profile(check: Check) -> dict[str, float]:
    """Kernels and copies started for a sweep; tables of operations, by time, in profile.txt."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled
    work = Sweeps(check, 3000 if check.dry else 120_000)
    for i in range(WARM_UP):
        work.run(i)
    runs = 2 if check.dry else PROFILED
    with profiled(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if check.cuda else [])]) as taken:
        for i in range(runs):
            work.run(WARM_UP + i)
    work.close()
    averages = taken.key_averages()
    orders = ['self_cpu_time_total', *(['self_device_time_total'] if check.cuda else [])]
    text = '\n\n'.join(f'{runs} sweeps, by {order}\n{averages.table(sort_by=order, row_limit=25)}' for order in orders)
    (check.out / 'profile.txt').write_text(text, encoding='utf-8')
    return {name: sum(e.count for e in averages if any(e.key.startswith(k) for k in keys)) / runs
            for name, keys in (('kernels started', ('cudaLaunchKernel', 'cuLaunchKernel')),
                               ('graphs started', ('cudaGraphLaunch',)),
                               ('copies', ('cudaMemcpyAsync',)), ('waits for a stream', ('cudaStreamSynchronize',)),
                               ('waits for the device', ('cudaDeviceSynchronize',)),
                               ('operations of torch', ('aten::',)))}


def graph(check: Check) -> dict[str, Any]:
    """The shipped network: eager, in a CUDA graph, in half precision; how far presence is from eager single."""
    from attention_fusion_ros.backends.graphed import Graphed
    from attention_fusion_ros.backends.torch_backend import TorchBackend
    from attention_fusion_ros.network.head import head_channel
    work = Sweeps(check, 3000 if check.dry else 120_000)
    one = work.pipelines['auto']
    assert isinstance(one.backend, TorchBackend)
    with torch.inference_mode():
        from attention_fusion_ros.contracts import SyncedSweep
        from attention_fusion_ros.decode import decode_cloud
        features = one.preprocess(SyncedSweep(decode_cloud(work.messages[0]), work.motion, work.image), False)
        given = [g[None].contiguous(memory_format=torch.channels_last) for g in (features.lidar, features.map.grid)]
        network = one.backend.network
        exact = head_channel(network(*given).head, 'presence').float().sigmoid()
        halves = copy.deepcopy(network).half()
        dtype = torch.bfloat16 if check.dry else torch.float16

        def halved(*grids: Tensor | None) -> Any:
            return halves(*(None if g is None else g.half() for g in grids))

        def autocast(*grids: Tensor | None) -> Any:
            with torch.autocast(check.device.type, dtype):
                return network(*grids)
        found: dict[str, Any] = {}
        for name, function in (('single', network), ('autocast', autocast), ('half', halved)):
            captured = Graphed(function)
            for way, call in (('eager', function), ('graphed', captured)):
                if way == 'graphed' and not check.cuda:
                    continue
                row = check.attempt(f'network {name} {way}', lambda call=call: _row(check, call, given, exact))
                if row is not None:
                    found[f'{name} {way}'] = row | ({'fallback': captured.fallback} if way == 'graphed' else {})
            if captured.fallback:
                check.failed[f'graph of the network, {name}'] = captured.fallback
    for name, row in found.items():
        say('   ', name, medians(row))
    work.close()
    return found


def _row(check: Check, call: Callable[..., Any], given: list[Tensor], exact: Tensor) -> dict[str, Any]:
    from attention_fusion_ros.network.head import head_channel
    presence = head_channel(call(*given).head, 'presence').float().sigmoid()
    return {'ms': check.milliseconds(lambda: call(*given), 100), 'apart': float((presence - exact).abs().max())}


def training(check: Check) -> dict[str, Any]:
    """Steps a second of the network of config/train.yaml on made-up samples."""
    from attention_fusion_ros.bev.lidar import CHANNELS
    from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
    from attention_fusion_ros.network.config import NetworkConfig
    from attention_fusion_ros.network.model import FusionNetwork
    config = NetworkConfig()
    network = FusionNetwork(config).to(check.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    found = check.found.setdefault('training', {})
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
        say('   ', batch, medians(found[f'batch {batch}']))
    return found
