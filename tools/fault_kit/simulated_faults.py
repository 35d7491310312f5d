# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Failures of the network and its device, brought about in the node's process through its own hooks (odd_node.py)."""

from __future__ import annotations

import time

from fault_kit.fault import fault
from fault_kit.run import Run
from fault_kit.stage import ODD_NODE, READY_TIMEOUT_S

GROUP = 'network and device (simulated)'
KINDS = {
    'GPU lost, device auto': ('lost', 'auto', 'CUDA error: device-side failure on every call; the CPU takes over.'),
    'GPU lost, device cuda': ('lost', 'cuda', 'CUDA error on every call for 4 s; the device is there again then.'),
    'GPU out of memory once': ('memory once', 'cuda', 'torch.cuda.OutOfMemoryError in one sweep.'),
    'GPU out of memory for 4 s': ('memory', 'cuda', 'torch.cuda.OutOfMemoryError in every sweep and new start.'),
}
PLAIN = {'out of memory on the CPU': ('cpu memory', 'MemoryError in the network for 3 s.'),
         'the network fails': ('bug', 'ZeroDivisionError in the network for 3 s.'),
         'the network answers NaN': ('nan', 'The network puts out NaN for 3 s.'),
         'the network hangs for 8 s': ('hang', 'One sweep takes 8 s.')}


def _register(name: str, kind: str, device: str, text: str) -> None:
    def act(run: Run) -> None:
        wish = run.folder / 'wish'
        wish.write_text('')
        run.stage.start_node(start=[*ODD_NODE, str(wish), device, '--activate'], parameters={'device': device})
        run.tracebacks_expected = True
        run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
        run.inject()
        wish.write_text(kind)
        time.sleep(4.0)
        if device != 'auto':
            wish.write_text('')
        run.lift()
        run.expect('device_error', 'cuda')

    act.__doc__ = text
    fault(GROUP, name, bound_s=5.0)(act)


def _register_plain(name: str, kind: str, text: str) -> None:
    def act(run: Run) -> None:
        wish = run.folder / 'wish'
        wish.write_text('')
        run.stage.start_node(start=[*ODD_NODE, str(wish), '', '--activate'])
        run.tracebacks_expected = True
        run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
        run.inject()
        wish.write_text(kind)
        time.sleep(8.0 if kind == 'hang' else 3.0)
        wish.write_text('')
        run.lift()

    act.__doc__ = text
    fault(GROUP, name, bound_s=5.0)(act)


for _name, _values in KINDS.items():
    _register(_name, *_values)
for _name, _plain in PLAIN.items():
    _register_plain(_name, *_plain)
