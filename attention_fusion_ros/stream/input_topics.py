# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording were chosen for which inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attention_fusion_ros.stream.inputs import InputSpec, Transport, selectable_inputs


@dataclass(frozen=True)
class InputTopic:
    """A topic of a recording that feeds an input."""

    name: str
    spec: InputSpec
    transport: Transport


@dataclass(frozen=True)
class LeftOut:
    """Topics of an input's type that only a user's word would choose."""

    reason: str  # that sweeps have no message of the input
    notice: str  # cause and remedy


class InputTopics:
    """Which topics of a recording feed which inputs.

    `topics['map_image']` is the topic of that input, None where there is none or the user excluded it.
    """

    def __init__(self, chosen: Iterable[InputTopic], left_out: Mapping[str, LeftOut] | None = None):
        """left_out: by input, topics of its type that were not chosen, and why."""
        self._chosen = {topic.name: topic for topic in chosen}
        self.left_out = dict(left_out or {})

    def __getitem__(self, input_name: str) -> str | None:
        return next((t.name for t in self._chosen.values() if t.spec.name == input_name), None)

    def topic(self, name: str) -> InputTopic:
        """What the topic of this name feeds. Raises KeyError."""
        return self._chosen[name]

    def names(self) -> list[str]:
        """Every topic that is used."""
        return list(self._chosen)

    def selected(self) -> list[tuple[InputSpec, str | None]]:
        """Each selectable input with its topic, in the order of the table."""
        return [(spec, self[spec.name]) for spec in selectable_inputs() if self[spec.name] or not spec.only_when_named]

    def remappings(self) -> dict[str, str]:
        """{topic as the node names it: topic of the recording}, for running the node on the recording."""
        return {t.transport.private_topic: t.name for t in self._chosen.values() if t.spec.selectable}
