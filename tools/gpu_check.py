# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parity and speed on a GPU, see gpu_check.sh. A part that fails is named, and costs the others nothing.

Parts come in order of importance, and each is saved as soon as it is there: whoever stops this keeps the rest. Times
are medians with the 20 and 80 % points, of runs between CUDA events after warming up. The floor of an operation is the
bytes that it has to read and write, by the bandwidth of a copy in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

import torch  # noqa: E402
from gpu_kit import attention, kernels, network, page  # noqa: E402
from gpu_kit.check import Check, say  # noqa: E402

LIMIT_S = 9 * 60.0
PARTS = {  # name -> function, seconds without which it is not begun
    'machine': (kernels.machine, 3),
    'compile': (kernels.compiled, 20),
    'parity': (kernels.parity, 10),
    'bev': (kernels.bev, 5),
    'pipeline': (network.pipeline, 10),
    'graph': (network.graph, 5),
    'waits': (network.waits, 5),
    'profile': (network.profile, 10),
    'attention': (attention.attention, 10),
    'training': (network.training, 10),
    'compiled attention': (attention.compiled_attention, 0),
}


def save(check: Check) -> None:
    """What is known so far, as JSON and as a page."""
    from attention_fusion_ros.utils import atomic
    atomic.write_json(check.out / 'gpu_check.json', {'found': check.found, 'failed': check.failed,
                                                     'traces': check.traces, 'seconds': check.took_s})
    try:
        text = '\n'.join(page.lines(check)) + '\n'
    except Exception:  # the numbers are in the JSON
        text = f'The page could not be written.\n\n{traceback.format_exc()}'
    atomic.write_text(check.out / 'gpu_check.md', text)


def main() -> int:
    """All parts; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--dry-run', action='store_true')
    parser.add_argument('--seconds', type=float, default=LIMIT_S, help='parts that do not fit are left out')
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS), help='and the machine')
    parser.add_argument('--resume', action='store_true', help='keep what the folder holds of other parts')
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        print('no CUDA device: nothing to check. Remedy: run it on a machine with one, or with --dry-run.')
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    check = Check(torch.device('cpu' if options.dry_run else 'cuda'), options.dry_run, options.seconds, options.out)
    check.save = lambda: save(check)
    if options.resume and (options.out / 'gpu_check.json').exists():
        known = json.loads((options.out / 'gpu_check.json').read_text())
        check.found, check.failed, check.traces, check.took_s = (known[k] for k in ('found', 'failed', 'traces',
                                                                                     'seconds'))
    parts = [name for name in PARTS if name in options.only or name == 'machine' and name not in check.found]
    for i, name in enumerate(parts):
        check.run(name, *PARTS[name])
        if parts[i + 1:] and check.is_dead:  # a new process can go on
            os.execv(sys.executable, [sys.executable, __file__, '--out', str(options.out), '--resume', '--seconds',
                                      str(check.left_s), '--only', *parts[i + 1:]])
    if not options.dry_run:
        from attention_fusion_ros.benchmarking import ledger
        check.attempt('ledger', lambda: ledger.add(options.out / 'ledger.csv', page.ledger_rows(check)))
        save(check)
    say((options.out / 'gpu_check.md').read_text())
    return 1 if check.failed else 0


if __name__ == '__main__':
    os.environ.setdefault('TORCHINDUCTOR_CACHE_DIR', str(Path.home() / '.cache' / 'inductor'))
    sys.exit(main())
