# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Messages of all inputs, one after the other, through the stream and the network: what lies behind the decoders."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from attention_fusion_ros.config import NodeConfig, from_flat
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.pipeline.fusion import FusionPipeline
from attention_fusion_ros.stream.inputs import INPUTS, InputSpec, Transport, is_cloud
from attention_fusion_ros.stream.sweeps import SweepStream
from fuzz import files, good
from fuzz.clouds import STAMP
from fuzz.judge import Fault
from fuzz.mutate import spoiled
from fuzz.target import Target

LENGTH = 12  # messages
SPOILED = 3  # one in so many


class Sent(NamedTuple):
    """A message and where it comes in."""

    spec: InputSpec
    transport: Transport
    message: Any
    received_ns: int


class Messages(NamedTuple):
    """Some time of a drive."""

    parameters: dict[str, Any]
    sent: list[Sent]


def _make(choices: random.Random) -> Messages:
    parameters = {'use_tf': bool(choices.randrange(2)), 'map.orientation': choices.choice(('heading_up', 'north_up')),
                  'cloud.deskew': choices.choice(('auto', 'off')), 'device': 'cpu', 'threads': 1}
    sent = []
    for number in range(LENGTH):
        stamp_ns = STAMP * 10**9 + number * 5 * 10**7
        spec = INPUTS[0] if number % 4 == 3 else choices.choice(INPUTS)
        transport = choices.choice(spec.transports)
        message = good.message_of(transport.type, stamp_ns, choices)
        if not choices.randrange(SPOILED):
            message = spoiled(message, choices, odd_types=not choices.randrange(4))
        sent.append(Sent(spec, transport, message, stamp_ns + choices.choice((0, 10**6, -(10**9), 10**12))))
    return Messages(parameters, sent)


@functools.cache
def _pipeline() -> FusionPipeline:
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'small.safetensors'
        path.write_bytes(files.safetensors_file(*files.checkpoint()))
        return FusionPipeline(from_flat({'checkpoint': str(path), 'device': 'cpu', 'threads': 1}))


def _run(messages: Messages) -> None:
    config: NodeConfig = from_flat(messages.parameters)
    dropped: list[InputError] = []
    stream = SweepStream(config, lambda spec, error: dropped.append(error), max_wait_s=0.0)
    pipeline = _pipeline()
    pipeline.reset()
    pipeline.update(config)
    for spec, transport, message, received_ns in messages.sent:
        if not is_cloud(spec):
            stream.take(spec, transport, message, received_ns)
            continue
        try:
            whole = stream.assemble(stream.decode(message, received_ns, spec, transport), received_ns)
        except InputError as error:
            dropped.append(error)
            continue
        for sweep in [*whole, *stream.overdue(received_ns)]:
            try:
                _check(pipeline.run(stream.complete(sweep)))
            except InputError as error:
                dropped.append(error)
    if dropped:
        raise dropped[-1]


def _check(result: Any) -> None:
    finite = all(np.isfinite(values).all() for values in (result.distribution, result.lidar_bev, result.map_bev))
    for branch in result.branches:
        finite = finite and 0.0 <= branch.probability <= 1.0 and np.isfinite((branch.bearing, branch.heading)).all()
    if not finite or abs(float(result.distribution.sum()) - 1.0) > 1e-3:
        raise Fault('a result that is not finite, or no distribution')


STREAM_TARGETS: tuple[Target, ...] = (
    Target('all inputs together, to the result', _make, _run, memory_mib=300.0, share=0.2),)
