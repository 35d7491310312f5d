# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Everything of rclpy that is private or differs between distributions, in one place (docs/distributions.md).

| here | Humble (3.3) | Iron (4.1) | Jazzy (7.1), Kilted (9), Lyrical, Rolling | why |
|---|---|---|---|---|
| `PublisherEventCallbacks` | rclpy.qos_event | rclpy.event_handler | rclpy.event_handler | moved |
| `SubscriptionEventCallbacks` | rclpy.qos_event | rclpy.event_handler | rclpy.event_handler | moved |
| `parameter_overrides` | `_parameter_overrides` | same | same | no public access to the overrides of undeclared names |
| `add_post_set_parameters_callback` | missing: see `call_after_others` | public | public | added in Iron |
| `lifecycle_state` | `_state_machine` | same | same | no public access to a node's own state |
| `with_message_info` | nothing | public | public | added in Iron |
| `refuse_impossible_transitions` | `_service_change_state` | same | same | an impossible request ends the node |

A private name that a later distribution lacks ends in an AttributeError at start, not in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
except ImportError:  # Humble
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )

__all__ = ['PublisherEventCallbacks', 'SubscriptionEventCallbacks', 'UnsupportedEventTypeError',
           'add_post_set_parameters_callback', 'call_after_others', 'lifecycle_state', 'parameter_overrides',
           'refuse_impossible_transitions', 'with_message_info']


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
