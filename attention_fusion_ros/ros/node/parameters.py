# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`config.parameters()` as ROS parameters: declared, described, validated, and never silently ignored."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from attention_fusion_ros.config import NodeConfig, ParameterInfo, from_flat, parameters, unknown_name, validate
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.sync.synchronizer import sensor_pose

# Parameters that ROS itself gives to every node.
ROS_NAMES = ('use_sim_time', 'start_type_description_service')
ROS_PREFIXES = ('qos_overrides.',)


def descriptor(info: ParameterInfo) -> ParameterDescriptor:
    """What `ros2 param describe` and rqt show: unit, description, bounds, choices, read-only."""
    message = ParameterDescriptor(name=info.name, read_only=info.read_only)
    message.description = f'{info.description} [{info.unit}]' if info.unit else info.description
    if info.choices:
        message.additional_constraints = f"one of {', '.join(info.choices)}"
    if info.type is list:
        message.additional_constraints = f'{len(info.default)} numbers'
        if info.low is not None:
            message.additional_constraints += f', each within {info.low:g} .. {info.high:g}'
    elif info.low is not None and info.type is float:
        message.floating_point_range = [FloatingPointRange(from_value=info.low, to_value=info.high, step=0.0)]
    elif info.low is not None and info.type is int:
        message.integer_range = [IntegerRange(from_value=int(info.low), to_value=int(info.high), step=1)]
    return message


class NodeParameters:
    """The parameters of a node, always a valid `NodeConfig` or a list of what is wrong with the parameter file.

    Wrong values and unknown names in the parameter file are remembered, not raised: the node has to live for its
    configure transition to fail with them.
    """

    def __init__(self, node: Node):
        self._node = node
        self._infos = {info.name: info for info in parameters()}
        self._errors: dict[str, str] = {}
        given = {name: p.value for name, p in node._parameter_overrides.items()}  # rclpy has no public access to them
        for name in given:
            if name not in self._infos and name not in ROS_NAMES and not name.startswith(ROS_PREFIXES):
                self._errors[name] = str(unknown_name(name, self._infos))
        for info in self._infos.values():
            node.declare_parameter(info.name, self._initial(info, given), descriptor(info), ignore_override=True)
        node.add_on_set_parameters_callback(self._check)
        self._values = self._read()
        self._config = from_flat(self._values)

    def config(self) -> NodeConfig:
        """The configuration as it is now.

        Raises ConfigurationError naming every wrong value and unknown name that the parameter file has.
        """
        if self._errors:
            raise ConfigurationError('; '.join(self._errors.values()))
        values = self._read()
        if values != self._values:
            self._config, self._values = from_flat(values), values
        return self._config

    def refuse(self, wanted: list[Parameter]) -> SetParametersResult | None:
        """The answer to an attempt at unknown or read-only parameters, None when all can be set."""
        for p in wanted:
            if not self._node.has_parameter(p.name):
                return SetParametersResult(successful=False, reason=str(unknown_name(p.name, self._infos)))
        names = [p.name for p in wanted if p.name in self._infos and self._infos[p.name].read_only]
        if not names:
            return None
        return SetParametersResult(successful=False, reason=f"{', '.join(names)}: read-only, fixed while the node "
                                   'runs; change it in the parameter file and start the node again')

    def in_own_type(self, wanted: list[Parameter]) -> list[Parameter]:
        """Whole numbers become floats where floats are wanted: `ros2 param set NODE map.max_age 2`."""
        return [self._as_float(p) for p in wanted]

    def _as_float(self, parameter: Parameter) -> Parameter:
        info = self._infos.get(parameter.name)
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

    def _read(self) -> dict[str, Any]:
        values = {name: self._node.get_parameter(name).value for name in self._infos}
        return {name: list(v) if self._infos[name].type is list else v for name, v in values.items()}

    def _check(self, wanted: list[Parameter]) -> SetParametersResult:
        """Validate only; what is accepted is read, and so applied, before the next sweep."""
        try:
            values = {p.name: validate(self._infos[p.name], p.value) for p in wanted if p.name in self._infos}
            sensor_pose(from_flat({**self._read(), **values}))
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in values:
            self._errors.pop(name, None)
        return SetParametersResult(successful=True)
