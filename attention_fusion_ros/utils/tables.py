# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A table, once: the same cells as text for a terminal, as GitHub-flavoured markdown, and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

LEFT, RIGHT = 'l', 'r'
CLASS_NUMBER = ' class="number"'


@dataclass(frozen=True)
class Link:
    """A cell that is a link where there are links, and its text elsewhere."""

    text: str
    address: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; a cell is anything that `str` can print.

    alignment: one of `LEFT` and `RIGHT` for each column, or '' for the usual alignment of each format. Raises
    ValueError when a row or the alignment does not have as many entries as the header.
    """

    title: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    notes: tuple[str, ...] = ()
    alignment: str = ''

    def __post_init__(self) -> None:
        """Check the shape."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"table '{self.title}': {len(row)} cells in a row under {len(self.header)} headings")
        if self.alignment and (len(self.alignment) != len(self.header) or set(self.alignment) - {LEFT, RIGHT}):
            raise ValueError(f"table '{self.title}': alignment '{self.alignment}' does not fit "
                             f'{len(self.header)} columns')

    def cells(self) -> list[list[str]]:
        """The rows as text, without the header."""
        return [[str(value) for value in row] for row in self.rows]

    def text(self) -> str:
        """Columns padded with spaces, for a terminal; by default the first is set to the left, all others to the right.

        Title and notes are left to the caller.
        """
        alignment = self.alignment or (LEFT + RIGHT * len(self.header))[:len(self.header)]
        lines = [list(self.header), *self.cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        head, *body = [_padded(line, widths, alignment) for line in lines]
        return '\n'.join([head, '-' * len(head), *body])

    def markdown(self, remarks: Sequence[str] = ()) -> str:
        """A heading, the table, and below it the notes and `remarks`, one bullet each; ends with an empty line."""
        parts = [f'### {self.title}', '', self.markdown_grid(), '']
        parts += [f'- {note}' for note in (*self.notes, *remarks)]
        return '\n'.join([*parts, ''])

    def markdown_grid(self) -> str:
        """The table alone, as markdown; `|` in a cell is escaped."""
        rule = [{LEFT: '---', RIGHT: '---:'}[column] for column in self.alignment] or ['---'] * len(self.header)
        return '\n'.join(map(_markdown_row, [list(self.header), rule, *self.cells()]))

    def html(self) -> str:
        """A `<table>` element, everything in it escaped; cells set to the right have the class `number`.

        The first cell of a row is its header. Without an alignment, cells that look like numbers are set to the right.
        """
        head = ''.join(f'<th scope="col">{html.escape(text)}</th>' for text in self.header)
        body = ''.join(f'<tr>{self._html_row(row)}</tr>' for row in self.rows)
        return f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def _html_row(self, row: Sequence[object]) -> str:
        right = [a == RIGHT for a in self.alignment] or [_is_number(str(value)) for value in row]
        tags = [('th', ' scope="row"'), *[('td', '')] * (len(row) - 1)]
        return ''.join(f'<{tag}{scope}{CLASS_NUMBER if to_the_right else ""}>{_html_cell(value)}</{tag}>'
                       for value, to_the_right, (tag, scope) in zip(row, right, tags, strict=True))


def _padded(line: Sequence[str], widths: Sequence[int], alignment: str) -> str:
    cells = [text.rjust(width) if side == RIGHT else text.ljust(width)
             for text, width, side in zip(line, widths, alignment, strict=True)]
    return '  '.join(cells).rstrip()


def _markdown_row(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(text.replace('|', '\\|') for text in cells) + ' |'


def _html_cell(value: object) -> str:
    text = html.escape(str(value))
    return f'<a href="{html.escape(value.address)}">{text}</a>' if isinstance(value, Link) else text


def _is_number(text: str) -> bool:
    return text.strip().lstrip('+-').replace('.', '', 1).replace(' ms', '').isdigit()
