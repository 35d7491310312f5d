# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One table as text, markdown and HTML."""

from __future__ import annotations

import pytest

from attention_fusion_ros.utils.tables import Table

TABLE = Table('Fruit', ('name', 'count'), [('apple | pear', 3), ('<fig>', 12)], ('ripe',))


def test_text_sets_the_first_column_to_the_left_and_the_others_to_the_right():
    assert TABLE.text().splitlines() == ['name          count', '-------------------', 'apple | pear      3',
                                         '<fig>            12']
    assert Table('', ('a', 'b'), [('x', 'y')], alignment='rl').text().splitlines()[-1] == 'x  y'


def test_markdown_escapes_pipes_and_ends_with_notes_and_remarks():
    assert TABLE.markdown(['picked today']).splitlines() == [
        '### Fruit', '', '| name | count |', '| --- | --- |', '| apple \\| pear | 3 |', '| <fig> | 12 |', '',
        '- ripe', '- picked today']
    aligned = Table('', ('a', 'b'), [], alignment='lr')
    assert aligned.markdown_grid().splitlines()[1] == '| --- | ---: |'


def test_html_is_escaped_and_numbers_are_set_to_the_right():
    text = TABLE.html()
    assert '<th scope="row">&lt;fig&gt;</th><td class="number">12</td>' in text and text.count('<tr>') == 3
    assert '<thead><tr><th scope="col">name</th>' in text
    assert '<td class="number">x</td>' in Table('', ('a', 'b'), [('y', 'x')], alignment='lr').html()


@pytest.mark.parametrize('rows, alignment', [([('only one',)], ''), ([], 'l'), ([], 'lx')])
def test_a_table_that_is_no_rectangle_is_refused(rows, alignment):
    with pytest.raises(ValueError, match='Fruit'):
        Table('Fruit', ('name', 'count'), rows, alignment=alignment)
