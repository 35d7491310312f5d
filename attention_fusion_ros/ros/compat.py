# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything of rclpy that is private or differs between distributions, in one place (docs/distributions.md).

| here | Humble (3.3) | Iron (4.1) | Jazzy (7.1), Kilted (9), Lyrical, Rolling | why |
|---|---|---|---|---|
| `SubscriptionEventCallbacks` | rclpy.qos_event | rclpy.event_handler | rclpy.event_handler | moved |
| `parameter_overrides` | `_parameter_overrides` | same | same | no public access to the overrides of undeclared names |
| `add_post_set_parameters_callback` | missing: see `call_after_others` | public | public | added in Iron |
| `lifecycle_state` | `_state_machine` | same | same | no public access to a node's own state |
| `with_message_info` | nothing | public | public | added in Iron |
| `refuse_impossible_transitions` | `_service_change_state` | same | same | an impossible request ends the node |
| `make_executor` | single-threaded | same | events by choice | `EventsExecutor` came with Kilted and Jazzy 7.1 |
| `serve` | `spin` | same | with events `spin_once` | its `spin` stops serving timers |

A private name that a later distribution lacks ends in an AttributeError at start, not in silence.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from rcl_interfaces.msg import SetParametersResult
from rclpy.context import Context
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription

from attention_fusion_ros.errors import ConfigurationError

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

__all__ = ['SubscriptionEventCallbacks', 'UnsupportedEventTypeError', 'add_post_set_parameters_callback',
           'call_after_others', 'lifecycle_state', 'make_executor', 'parameter_overrides',
           'refuse_impossible_transitions', 'serve', 'with_message_info']

EVENTS, SINGLE_THREADED = 'events', 'single_threaded'
EXECUTOR = 'ATTENTION_FUSION_EXECUTOR'  # environment variable: one of these; '' is SINGLE_THREADED
WAIT_S = 0.5  # between looks at whether the context is still there; the executor is woken when it goes


def make_executor(context: Context, kind: str | None = None) -> Executor:
    """The executor that serves a node's callbacks in one thread.

    kind: SINGLE_THREADED, or EVENTS, which waits for events instead of building a wait set for every callback; None:
    what the environment variable EXECUTOR says. Where rclpy has no executor of events, the single-threaded one takes
    its place.

    Raises ConfigurationError for another kind.
    """
    kind = os.environ.get(EXECUTOR, '') if kind is None else kind
    if kind not in ('', SINGLE_THREADED, EVENTS):
        raise ConfigurationError(f"{EXECUTOR} is '{kind}'. Remedy: set it to {SINGLE_THREADED} or {EVENTS}, or leave "
                                 'it out.')
    if kind == EVENTS:
        events = events_executor()
        if events is not None:
            made: Executor = events(context=context)
            return made
        get_logger('attention_fusion').warning(f'{EXECUTOR}={EVENTS}: this version of rclpy has none; the '
                                               'single-threaded executor is used.')
    return SingleThreadedExecutor(context=context)


def events_executor() -> Callable[..., Any] | None:
    """The executor of events, None where rclpy has none."""
    for name in ('rclpy.executors', 'rclpy.experimental'):  # where it may move once it is no experiment any more
        try:
            found = getattr(importlib.import_module(name), 'EventsExecutor', None)
        except ImportError:
            continue
        if found is not None:
            return cast('Callable[..., Any]', found)
    return None


def serve(executor: Executor, context: Context) -> None:
    """Serve callbacks until the context is shut down, or one of them raises.

    The executor of events is asked again and again: left to itself (`spin`), it stops after the first call of a timer
    (rclpy 7.1.6 and 9.1.2). Raises what `Executor.spin` does.
    """
    if isinstance(executor, SingleThreadedExecutor):
        executor.spin()
        return
    while context.ok():
        executor.spin_once(timeout_sec=WAIT_S)


def with_message_info(callback: Callable[[Any, Mapping[str, Any]], None]) -> Callable[..., None]:
    """The callback of a subscription that also gets rclpy's information about a message; {} where there is none."""
    if hasattr(Subscription, 'CallbackType'):
        return lambda message, info: callback(message, info)
    return lambda message: callback(message, {})


def parameter_overrides(node: Node) -> dict[str, Any]:
    """{name: value} from the command line, the parameter file and `parameter_overrides`, declared or not."""
    return {name: parameter.value for name, parameter in node._parameter_overrides.items()}


def add_post_set_parameters_callback(node: Node, callback: Callable[[list[Parameter]], None]) -> None:
    """Call `callback` with every set of parameters that was accepted.

    On Humble it has to be registered before the callbacks that validate.
    """
    if hasattr(node, 'add_post_set_parameters_callback'):
        node.add_post_set_parameters_callback(callback)
    else:
        call_after_others(node, callback)


def call_after_others(node: Node, callback: Callable[[list[Parameter]], None]) -> None:
    """Humble's way: an on-set callback that runs last, when those registered after it have accepted the set.

    rclpy calls on-set callbacks in reverse order of registration and stops at the first refusal.
    """
    def accept(parameters: list[Parameter]) -> SetParametersResult:
        callback(parameters)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(accept)


def lifecycle_state(node: LifecycleNode) -> str:
    """Label of the node's current state: unconfigured, inactive, active, finalized, or a transition state."""
    return str(node._state_machine.current_state[1])


def refuse_impossible_transitions(node: LifecycleNode) -> None:
    """Answer a ChangeState request that the current state does not allow with `success: false`.

    rclpy raises in the executor's thread instead, which ends the node. To be called once, before the node is spun.
    """
    change_state = node._service_change_state.callback

    def checked(request: Any, response: Any) -> Any:
        possible = [transition[0] for transition in node._state_machine.available_transitions]
        if request.transition.id in possible or request.transition.label:
            return change_state(request, response)
        node.get_logger().warning(f"transition {request.transition.id} is not possible in state "
                                  f"'{lifecycle_state(node)}'")
        response.success = False
        return response

    node._service_change_state.callback = checked
