# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""replay.yaml in the folder of a recording: which topics are the inputs, and the parameters that belong to them.

`draw_map` writes it, so that the map images it has drawn are found and lie where they should. It is a parameter file
of ROS, whose part about the node `attention_fusion` launch files can be given; the part `recording` names the topics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from attention_fusion_ros.config import flatten, from_flat
from attention_fusion_ros.utils import outside

NAME = 'replay.yaml'
NODE, TOPICS, PARAMETERS = 'attention_fusion', 'recording', 'ros__parameters'
HEAD = '# Read by replay and train, written by draw_map; options on the command line win.\n'


@dataclass(frozen=True)
class Hints:
    """What a recording says about itself. problem: why nothing of the file is used."""

    topics: Mapping[str, str] = field(default_factory=dict)  # by input name
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of the node, by dotted name
    problem: str = ''


def read_hints(path: Path) -> Hints:
    """Those of a recording's folder, or of the folder of its file; empty without any."""
    file = (path if path.is_dir() else path.parent) / NAME
    try:
        content = outside.read_yaml(file)
        sections = {name: content[name][PARAMETERS] for name in (NODE, TOPICS) if name in content}
        topics = {str(name): str(topic) for name, topic in sections.get(TOPICS, {}).items()}
        parameters = flatten(sections.get(NODE, {}))
        from_flat(parameters)
    except FileNotFoundError:
        return Hints()
    except (OSError, ValueError) as error:  # of the parameters too
        return Hints(problem=' '.join(str(error).split()))
    except (TypeError, KeyError, AttributeError):
        return Hints(problem=f'it is no parameter file of the nodes {NODE} and {TOPICS}')
    return Hints(topics, parameters)


def hints_text(topics: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """The content of the file. parameters: by dotted name."""
    nested: dict[str, Any] = {}
    for name, value in parameters.items():
        *sections, last = name.split('.')
        at = nested
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    content = {NODE: {PARAMETERS: nested}, TOPICS: {PARAMETERS: dict(topics)}}
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return HEAD + text
