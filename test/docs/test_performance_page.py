# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What docs/performance.md says in words is what its tables say."""

from __future__ import annotations

import re
from pathlib import Path

from attention_fusion_ros.benchmarking.ledger import newest, read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'performance.md').read_text()
ROWS = newest(read(ROOT / 'docs' / 'results' / 'performance.csv'))


def test_the_share_of_eager_torch_is_that_of_the_tables():
    times = [row.median for row in ROWS
             if (row.operation, row.provider, row.metric) == ('network', 'plain', 'processor_ratio')]
    low, high = re.findall(r'takes ([\d.]+) to ([\d.]+) of the processor time of eager torch', PAGE)[0]
    assert len(times) >= 6
    assert (float(low), float(high)) == (round(1 / max(times), 2), round(1 / min(times), 2))


def test_every_block_of_measurements_says_in_which_circumstances_it_was_made():
    prose, tables = PAGE.split('<!-- measurements')
    blocks = re.findall(r'^\*\*(.+?), torch .+, commit (\w+)$', tables, re.MULTILINE)
    assert len(blocks) == len({row.device for row in ROWS if row.operation == 'total'})
    for device, commit in blocks:
        kind = ' '.join(re.sub(r'\(R\)', '', device).split()[:2]).rstrip(',')
        assert re.search(rf'^- \*\*{kind}\*\*, commit {commit}\b', prose, re.MULTILINE), (kind, commit)
