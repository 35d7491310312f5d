# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs of one machine that must not hear each other: each has a ROS domain to itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.clients import domains
from attention_fusion_ros.ros.clients.domains import PORT_BASE, PORTS_PER_DOMAIN, release_domain, reserve_domain

RESERVE_AND_WAIT = ('from attention_fusion_ros.ros.clients.domains import reserve_domain\n'
                    'print(reserve_domain(), flush=True)\ninput()\n')


@pytest.fixture
def three(monkeypatch):
    """The only domains there are: three that nobody else has now."""
    chosen = [reserve_domain() for _ in range(3)]
    for domain in chosen:
        release_domain(domain)
    monkeypatch.setattr(domains, 'DOMAINS', chosen)
    yield chosen
    for domain in chosen:
        release_domain(domain)


def test_no_domain_is_given_twice_until_it_is_released(three):
    assert {reserve_domain() for _ in three} == set(three)
    with pytest.raises(ConfigurationError, match='in use'):
        reserve_domain()
    release_domain(three[1])
    assert reserve_domain() == three[1]
    release_domain(three[1])
    release_domain(three[1])


def test_another_process_gets_another_one_until_this_one_ends(three, monkeypatch):
    with subprocess.Popen([sys.executable, '-c', RESERVE_AND_WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as other:
        theirs = int(other.stdout.readline())
        monkeypatch.setattr(domains, 'DOMAINS', [theirs])
        with pytest.raises(ConfigurationError):
            reserve_domain()
        other.communicate('\n')
    assert reserve_domain() == theirs
    release_domain(theirs)


def test_domains_whose_ports_were_left_behind_come_last(three, monkeypatch, tmp_path):
    for domain in three[:2]:
        (tmp_path / f'fastrtps_port{PORT_BASE + PORTS_PER_DOMAIN * domain + 11}').touch()
    monkeypatch.setattr(domains, 'SHARED_MEMORY', tmp_path)
    assert reserve_domain() == three[2]
    assert {reserve_domain(), reserve_domain()} == set(three[:2])
