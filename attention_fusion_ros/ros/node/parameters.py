# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`config.parameters()` as ROS parameters: declared, described, validated, and never silently ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from attention_fusion_ros.config import OFF, ParameterInfo, from_flat, parameters, unknown_name, validate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.ros.compat import add_post_set_parameters_callback, parameter_overrides

# Parameters that ROS itself gives to every node.
ROS_NAMES = ('use_sim_time', 'start_type_description_service')
ROS_PREFIXES = ('qos_overrides.',)


def descriptor(info: ParameterInfo) -> ParameterDescriptor:
    """What `ros2 param describe` and rqt show: description, unit, bounds, choices, read-only."""
    message = ParameterDescriptor(name=info.name, read_only=info.read_only)
    message.description = f'{info.description} [{info.unit}]' if info.unit else info.description
    if info.choices:
        message.additional_constraints = f"one of {', '.join(info.choices)}"
    if info.type is list:
        message.additional_constraints = f'{len(info.default)} numbers'
        if info.low is not None:
            message.additional_constraints += f', each within {info.low:g} .. {info.high:g}'
    elif info.low is None or info.high is None:
        return message
    elif info.type is float:
        message.floating_point_range = [FloatingPointRange(from_value=info.low, to_value=info.high, step=0.0)]
    elif info.type is int:
        message.integer_range = [IntegerRange(from_value=int(info.low), to_value=int(info.high), step=1)]
    return message


class NodeParameters:
    """The parameters of a node as an object of `config_type`: one for each set of parameters that was accepted.

    Wrong values and unknown names in the parameter file are remembered, not raised: the node has to exist for its
    configure transition to fail because of them. `config` may be called from any thread.
    """

    def __init__(self, node: Node, config_type: type, check: Callable[[Any], object]):
        """check: raises ConfigurationError for a configuration whose parameters do not fit together."""
        self._node, self._type, self._fits = node, config_type, check
        self._infos = {info.name: info for info in parameters(config_type)}
        self._errors: dict[str, str] = {}
        self.times_set: Counter[str] = Counter()  # by name, while the node runs: also to the value that it had
        given = parameter_overrides(node)
        for name in given:
            if name not in self._infos and name not in ROS_NAMES and not name.startswith(ROS_PREFIXES):
                self._errors[name] = str(unknown_name(name, self._infos))
        self._values = {info.name: self._initial(info, given) for info in self._infos.values()}
        for info in self._infos.values():
            node.declare_parameter(info.name, self._values[info.name], descriptor(info), ignore_override=True)
        self._config: Any = from_flat(self._values, config_type)
        add_post_set_parameters_callback(node, self._apply)  # before _check: see there
        node.add_on_set_parameters_callback(self._check)

    def config(self) -> Any:
        """The configuration as it is now; the same object until a set of parameters is accepted.

        Raises ConfigurationError naming every wrong value and unknown name in the parameter file.
        """
        errors = tuple(self._errors.values())
        if errors:
            raise ConfigurationError('; '.join(errors))
        return self._config

    @property
    def latest(self) -> Any:
        """As `config`, with defaults in place of what is wrong in the parameter file."""
        return self._config

    def refuse(self, wanted: list[Parameter]) -> SetParametersResult | None:
        """The refusal of a set that names unknown or read-only parameters, or has a wrong type; None for others."""
        for parameter in wanted:
            if not self._node.has_parameter(parameter.name):
                return SetParametersResult(successful=False, reason=str(unknown_name(parameter.name, self._infos)))
        fixed = [p.name for p in wanted if p.name in self._infos and self._infos[p.name].read_only]
        if not fixed:
            return self._refuse_types(wanted)
        return SetParametersResult(successful=False, reason=f"{', '.join(fixed)}: read-only. Remedy: change it in the "
                                   'parameter file and restart the node.')

    def _refuse_types(self, wanted: list[Parameter]) -> SetParametersResult | None:
        """As rclpy does, but by name: that of Kilted (9.1.2) tells the numbers of the types."""
        for parameter in self.in_own_type(wanted):
            declared = self._node.get_parameter(parameter.name).type_
            if parameter.name in self._infos and parameter.type_ not in (declared, Parameter.Type.NOT_SET):
                return SetParametersResult(successful=False, reason=f"wrong type for '{parameter.name}': expected "
                                           f'{declared.name}, got {parameter.type_.name}.')
        return None

    def in_own_type(self, wanted: list[Parameter]) -> list[Parameter]:
        """Convert whole numbers to floats, and false to `off`, where those are expected.

        `ros2 param set NODE map.max_age 2`, `ros2 param set NODE cloud.deskew off`: YAML decides otherwise.
        """
        return [self._in_own_type(parameter) for parameter in wanted]

    def _in_own_type(self, parameter: Parameter) -> Parameter:
        info = self._infos.get(parameter.name)
        if info is not None and info.type is str and parameter.value is False and OFF in (info.choices or ()):
            return Parameter(parameter.name, Parameter.Type.STRING, OFF)
        if info is not None and info.type is float and parameter.type_ == Parameter.Type.INTEGER:
            return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))
        if info is not None and info.type is list and parameter.type_ == Parameter.Type.INTEGER_ARRAY:
            return Parameter(parameter.name, Parameter.Type.DOUBLE_ARRAY, [float(v) for v in parameter.value])
        return parameter

    def _initial(self, info: ParameterInfo, given: dict[str, Any]) -> Any:
        if info.name not in given:
            return info.default
        try:
            return validate(info, given[info.name])
        except ConfigurationError as error:
            self._errors[info.name] = str(error)
            return info.default

    def _validated(self, wanted: list[Parameter]) -> dict[str, Any]:
        return {p.name: validate(self._infos[p.name], p.value) for p in wanted if p.name in self._infos}

    def _check(self, wanted: list[Parameter]) -> SetParametersResult:
        try:
            self._fits(from_flat({**self._values, **self._validated(wanted)}, self._type))
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, accepted: list[Parameter]) -> None:
        """Build the configuration once for an accepted set, and swap the one reference that readers take."""
        values = self._validated(accepted)
        if not values:
            return
        self._values = {**self._values, **values}
        self._errors = {name: text for name, text in self._errors.items() if name not in values}
        self.times_set.update(values.keys())
        self._config = from_flat(self._values, self._type)
