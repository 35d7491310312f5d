# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What differs between distributions: one module, one page, and an executor that survives errors everywhere."""

from __future__ import annotations

import ast
import re
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'attention_fusion_ros'
ELSEWHERE = {'ros/transport.py'}  # needs no rclpy; the page names it


def test_the_page_has_a_row_for_every_difference():
    tree = ast.parse((PACKAGE / 'ros' / 'compat.py').read_text())
    names = next(ast.literal_eval(n.value) for n in tree.body
                 if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == '__all__')
    page = (ROOT / 'docs' / 'distributions.md').read_text()
    rows = [line.split('|')[1] for line in page.split('## What differs')[1].splitlines() if line.startswith('| `')]
    assert sorted(re.findall(r'`(\w+)`', ' '.join(rows))) == sorted(names)


def test_no_other_module_asks_for_the_distribution_or_for_private_names_of_rclpy():
    private = re.compile(r'ROS_DISTRO|rclpy\.(qos_event|event_handler)|_state_machine|_parameter_overrides\b|'
                         r'_service_change_state|rclpy\.experimental')
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob('*.py') if private.search(path.read_text())}
    assert found == {'ros/compat.py', *ELSEWHERE}


def test_it_goes_on_after_an_error_in_a_callback_and_ends_with_its_context(ros_domain):
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from rclpy.context import Context
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node

    from attention_fusion_ros.ros.node.spinning import spin

    context = Context()
    context.init(domain_id=ros_domain)
    node = Node('compat', context=context)
    errors, calls, enough = [], [], threading.Event()

    def tick():
        calls.append(len(calls))
        if len(calls) == 2:
            raise ValueError('in a callback')
        if len(calls) > 4:
            enough.set()

    node.create_timer(0.01, tick)

    def work():
        try:
            spin(node, errors.append)
        except ExternalShutdownException:
            pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert enough.wait(120.0), f'{len(calls)} calls'
    assert [str(error) for error in errors] == ['in a callback']
    context.try_shutdown()
    thread.join(60.0)
    assert not thread.is_alive()
    node.destroy_node()
