# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What every attention mechanism is: a module that returns the weighted features and the weights it used."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_fusion_ros.attention.warp import move, se2_matrix
from attention_fusion_ros.errors import ConfigurationError

# The network's settings that name a mechanism: those that weigh features, and those with a purpose of their own.
FEATURE_SLOTS = ('encoder_attention', 'fusion', 'stage_attention')
SLOTS = (*FEATURE_SLOTS, 'selection', 'reading', 'map_registration', 'temporal')


class LossTarget(Protocol):
    """What is known about B samples, M branches, K bearing bins; see `datasets.target.Target`."""

    @property
    def branches(self) -> Tensor:
        """(B, M, 2) bearing, heading [rad]; rows of NaN fill up."""

    @property
    def direction(self) -> Tensor:
        """(B, 2) bearing, heading [rad]; NaN when there is none."""

    @property
    def direction_known(self) -> Tensor:
        """(B,) bool: whether the data tell if there is a direction."""

    @property
    def map_error(self) -> Tensor | None:
        """(B, 3) dx, dy [m], dyaw [rad] that the map needs; NaN where unknown. None: unknown for all samples."""

    def mask(self, name: str) -> Tensor:
        """(B, 1, h, w) share of each cell, 0..1, covered by 'road', 'roadside' or 'vehicle'; NaN where unknown."""


class Mechanism(nn.Module):
    """Base of all mechanisms: `forward(x) -> (features, weights)`.

    x, features: (B, C, H, W), any H and W. weights: {'channel': (B, C)} and/or {'spatial': (B, 1, H, W)}, plus what the
    mechanism documents. Weights are returned with their gradient; whoever draws them detaches them.

    channels: C of the features. Options are keyword arguments; a value that cannot work raises ConfigurationError.
    """

    extra_inputs: tuple[str, ...] = ()  # names of the arguments that forward() takes after x
    slots: tuple[str, ...] = FEATURE_SLOTS  # the settings of the network that may name it
    # Default weight in the training loss of everything that `losses` returns; settings may name others.
    loss_weights: Mapping[str, float] = {}
    placement = 'residual'  # in a residual block: on its 'residual', 'after' it, or as the whole 'block'
    # Which of the weights the features are made with; those that a mechanism does not return count nothing.
    decisive: tuple[str, ...] = ('channel', 'spatial', 'correction')
    extent: float  # m, half the height of the grid; of those that move something on it

    def __init__(self, channels: int):
        super().__init__()
        self.channels = at_least('channels', channels, 1)

    def anneal(self, progress: float) -> None:
        """Called in training before every step, progress 0..1; for mechanisms that begin more gently than they end."""

    def reweighted(self, x: Tensor, weights: Mapping[str, Tensor], *extra: Tensor | None) -> Tensor:
        """The features that `forward` would return had it found these weights: an intervention.

        With the weights that `forward(x, *extra)` returned the features are its own, but for rounding. Here: x times
        'channel' times 'spatial' (coarser weights count for all cells they cover), moved by 'correction' (the mechanism
        then has an `extent` in metres); mechanisms with another formula say it themselves.

        x (B, C, H, W). weights: those named in `decisive` are read, those of them that are missing change nothing.
        """
        if 'correction' in weights:
            x = move(x, se2_matrix(weights['correction']), self.extent)
        if 'channel' in weights:
            x = x * weights['channel'][:, :, None, None]
        return x * covering(weights['spatial'], x) if 'spatial' in weights else x

    def indifferent(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The decisive ones of `weights` replaced by what prefers nothing: ones, and no correction."""
        return {name: torch.zeros_like(weights[name]) if name == 'correction' else torch.ones_like(weights[name])
                for name in self.decisive if name in weights}

    def losses(self, weights: dict[str, Tensor], truth: LossTarget, task_loss: Tensor) -> dict[str, Tensor]:
        """Losses of the mechanism's own, () each, by the names in `loss_weights`; most have none.

        Called in training after every forward pass, outside of autocast.

        Args:
            weights: what `forward` returned, with its gradient.
            truth: of the batch. What is not known must not reach the gradient.
            task_loss: () what the network's answer costs in this batch, without gradient: minus the reward of a policy.
        """
        return {}


def covering(spatial: Tensor, x: Tensor) -> Tensor:
    """(B, 1, h, w) weights -> (B, 1, H, W) on the cells of x (B, C, H, W); each counts for all cells that it covers."""
    return spatial if spatial.shape[2:] == x.shape[2:] else F.interpolate(spatial, size=x.shape[2:], mode='nearest')


def construct(name: str, cls: type[Mechanism], channels: int, options: dict[str, Any]) -> Mechanism:
    """`cls(channels, **options)`; an unknown option raises ConfigurationError naming those of the mechanism `name`."""
    known = list(inspect.signature(cls.__init__).parameters)[2:]  # after self and channels
    for option in options:
        if option not in known:
            raise ConfigurationError(f"attention mechanism '{name}' has no option '{option}'. "
                                     + (f"Known are: {', '.join(known)}." if known else 'It has none.'))
    return cls(channels, **options)


def at_least(name: str, value: int, low: int) -> int:
    """The whole number `value`, or ConfigurationError when it is none or below `low`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigurationError(f"attention option '{name}' must be a whole number of at least {low}, got {value!r}")
    return value


def odd(name: str, value: int) -> int:
    """An odd kernel size, or ConfigurationError: an even one would shift the map by half a cell."""
    if at_least(name, value, 1) % 2 == 0:
        raise ConfigurationError(f"attention option '{name}' must be odd, got {value}")
    return value


def one_of(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """`value` when it is among `choices` (lists, as YAML gives them, count as tuples), else ConfigurationError."""
    value = tuple(value) if isinstance(value, list) else value
    if value not in choices:
        raise ConfigurationError(f"attention option '{name}' must be one of {', '.join(map(str, choices))}, "
                                 f'got {value!r}')
    return value


def bottleneck(channels: int, reduction: int, hidden: int | None, minimum: int = 1) -> int:
    """Width of the squeezed layer: `hidden` when given, else C / r (rounded down) but at least `minimum`."""
    if hidden is not None:
        return at_least('hidden', hidden, 1)
    return max(minimum, channels // at_least('reduction', reduction, 1))
