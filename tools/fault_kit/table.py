# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The outcomes as tables in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attention_fusion_ros.utils.tables import Table
from fault_kit.fault import Outcome

HEAD = ('fault', 'what was done', 'answered during', 'again after s', 'bound s', 'lost', 'said', 'as it should be')


def counted(outcomes: Sequence[Outcome]) -> str:
    """How many are as they should be, in a sentence."""
    found = Counter('yes' if o.ok == 'yes' else 'not run' if o.ok.startswith('not run') else 'no' for o in outcomes)
    return f"{len(outcomes)} faults: {found['yes']} as they should be, {found['no']} not, {found['not run']} not run."


def cell(text: str) -> str:
    """A text within a table: brackets would make links of it, bars cells."""
    for character, instead in (('|', '/'), ('<', '&lt;'), ('[', '&#91;'), ('\n', ' ')):
        text = text.replace(character, instead)
    return text


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, one table a group."""
    parts = []
    for group in dict.fromkeys(o.group for o in outcomes):
        rows = [tuple(cell(text) for text in
                      (o.fault, o.done, o.answered, o.again_s, o.bound_s, o.lost, o.said, o.ok))
                for o in outcomes if o.group == group]
        parts.append(f'### {group[0].upper()}{group[1:]}\n\n{Table("", HEAD, rows).markdown_grid()}')
    return '\n\n'.join(parts)
