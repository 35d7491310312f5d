# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Parameters: one source, strict."""

import math

import pytest

from attention_fusion_ros import config as c
from attention_fusion_ros.errors import ConfigurationError


def test_every_parameter_says_what_it_is():
    for p in c.parameters():
        assert p.description.endswith('.') and p.type in (bool, int, float, str, list), p.name
        if p.type in (int, float):
            assert p.low is not None and p.high is not None and p.low <= p.default <= p.high, p.name


def test_defaults_pass_their_own_validation():
    assert c.from_flat({p.name: p.default for p in c.parameters()}) == c.NodeConfig()


def test_unknown_name_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigurationError, match=r"'map.max_agee'.*'map.max_age'"):
        c.from_flat({'map.max_agee': 1.0})


@pytest.mark.parametrize('name, value', [
    ('map.max_age', -1.0), ('map.max_age', math.nan), ('map.max_age', '3'), ('map.orientation', 'south_up'),
    ('cloud.accumulate', 2.5), ('cloud.accumulate', 0), ('use_tf', 1), ('T_base_sensor', [1.0]), ('map.anchor', 0.5),
    ('threads', True)])
def test_bad_values_name_the_parameter(name, value):
    with pytest.raises(ConfigurationError, match=name):
        c.from_flat({name: value})


@pytest.mark.parametrize('name, value, words', [
    ('map.max_age', '3', 'write 3, without'), ('use_tf', 'True', 'write true, without'),
    ('threads', '1e3', 'write 1000,'), ('map.anchor', ['0.5', 0.5], 'write 0.5, without'),
    ('checkpoint', 12, 'in quotes')])
def test_a_value_in_quotes_or_without_them_is_told_as_such(name, value, words):
    """Launch files easily make texts of numbers; `must be true or false, got 'true'` helps nobody."""
    with pytest.raises(ConfigurationError, match=f'{name}.*Remedy: .*{words}'):
        c.from_flat({name: value})


@pytest.mark.parametrize('value', ['nan', 'three', ''])
def test_a_text_that_is_no_number_has_no_such_remedy(value):
    with pytest.raises(ConfigurationError, match=f"must be a number, got the text '{value}'$"):
        c.from_flat({'map.max_age': value})


def test_values_reach_their_section():
    made = c.from_flat(c.flatten({'map': {'resolution': 1, 'anchor': [0.5, 0.75]}, 'device': 'cpu'}))
    assert made.map.resolution == 1.0 and made.map.anchor == [0.5, 0.75] and made.device == 'cpu'


def test_off_is_a_choice_although_yaml_reads_false():
    """`cloud.deskew: off` in a parameter file, or `-p cloud.deskew:=off`."""
    assert c.from_flat({'cloud.deskew': False, 'cloud.assemble': False}).cloud.deskew == 'off'
    with pytest.raises(ConfigurationError, match='must be text'):
        c.from_flat({'cloud.deskew': True})
    with pytest.raises(ConfigurationError, match='must be text'):
        c.from_flat({'map.orientation': False})
