# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs of one machine that must not hear each other: each has a ROS domain to itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.clients import domains
from attention_fusion_ros.ros.clients.domains import PORT_BASE, PORTS_PER_DOMAIN, ReservedDomain

RESERVE_AND_WAIT = ('from attention_fusion_ros.ros.clients.domains import ReservedDomain\n'
                    'domain = ReservedDomain()\nprint(domain.id, flush=True)\ninput()\n')


@pytest.fixture
def others(monkeypatch):
    """Lets one choose from which domains reservations are made; they are given back after the test."""
    reserved = []

    def reserve(among=None) -> ReservedDomain:
        with monkeypatch.context() as context:
            if among is not None:
                context.setattr(domains, 'DOMAINS', among)
            reserved.append(ReservedDomain())
        return reserved[-1]

    yield reserve
    for domain in reserved:
        domain.close()


def test_no_domain_is_given_twice_until_it_is_released(others):
    mine = [others() for _ in range(3)]
    numbers = [domain.id for domain in mine]
    assert len(set(numbers)) == 3
    with pytest.raises(ConfigurationError, match='reserved'):
        others(numbers)
    mine[1].close()
    assert others(numbers).id == numbers[1]
    mine[1].close()
    with pytest.raises(ConfigurationError):
        others(numbers)


def test_it_is_released_at_the_end_of_a_with_statement(others):
    domain = ReservedDomain()  # kept: the statement gives it back, not the garbage collector
    with domain as number, pytest.raises(ConfigurationError):
        others([number])
    assert others([number]).id == number


def test_another_process_gets_another_one_until_this_one_ends(others):
    with subprocess.Popen([sys.executable, '-c', RESERVE_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        theirs = int(other.stdout.readline())
        with pytest.raises(ConfigurationError):
            others([theirs])
        other.communicate('\n')
    assert others([theirs]).id == theirs


def test_domains_whose_ports_were_left_behind_come_last(others, monkeypatch, tmp_path):
    """Many of them, of which the one without is the last that chance would give."""
    monkeypatch.setattr(domains, 'SHARED_MEMORY', tmp_path)
    mine = [others() for _ in range(20)]
    numbers = [domain.id for domain in mine]
    for number in numbers[1:]:
        (tmp_path / f'fastrtps_port{PORT_BASE + PORTS_PER_DOMAIN * number + 11}').touch()
    for domain in mine:
        domain.close()
    assert others(numbers).id == numbers[0]
    assert others(numbers).id in numbers[1:]
