# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Three ways of making choices: by seed, by hypothesis, and guided by coverage (atheris, which is installed apart)."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from fuzz.choices import ChoicesFromBytes

Try = Callable[[int, random.Random], None]  # number of the input, and its choices
LONGEST = 4096  # bytes of choices; a cloud takes about 100
FIRST = 16  # strings of choices by lot that coverage is sought from


def seeded(tried: Try, seed: int, name: str, first: int, count: int) -> None:
    """Input i has the choices of a seed of its own, so that each can be made again alone."""
    for number in range(first, count):
        tried(number, choices_of(seed, name, number))


def choices_of(seed: int, name: str, number: int) -> random.Random:
    """The choices of one input of a target."""
    return random.Random(f'{seed}/{name}/{number}')


def hypothesis(tried: Try, seed: int, name: str, first: int, count: int) -> None:
    """As many examples; those that fail are made small."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as with_seed
    from hypothesis import strategies as st
    number = first

    @with_seed(f'{seed}/{name}/{first}')
    @settings(max_examples=count - first, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def run(choices: random.Random) -> None:
        nonlocal number
        tried(number, choices)
        number += 1
    if count > first:
        run()


def atheris(tried: Try, seed: int, name: str, first: int, count: int) -> None:
    """Guided by the coverage of this package, which has to be imported within `instrumented`. Does not return.

    It begins with strings by lot: from an empty one, whose choices are all the first, everything is spoiled for long.
    """
    import atheris as engine
    number, luck = first, random.Random(f'{seed}/{name}/{first}')
    folder = Path(mkdtemp(prefix='fuzz-'))
    for k in range(FIRST):
        (folder / str(k)).write_bytes(luck.randbytes(LONGEST))

    def run(data: bytes) -> None:
        nonlocal number
        tried(number, ChoicesFromBytes(data))
        number += 1
        if number == count:  # and not by -runs: one run fewer than expected, and the last report is never written
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
    arguments = [f'-seed={seed + first + 1}', f'-max_len={LONGEST}', '-len_control=0', '-rss_limit_mb=0',
                 '-timeout=600', '-verbosity=0', f'-artifact_prefix={gettempdir()}/']
    engine.Setup(['fuzz', *arguments, str(folder)], run)
    engine.Fuzz()


ENGINES: dict[str, Callable[[Try, int, str, int, int], None]] = {
    'seeded': seeded, 'hypothesis': hypothesis, 'atheris': atheris}
