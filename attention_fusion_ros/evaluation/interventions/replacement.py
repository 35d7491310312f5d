# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Other weights in place of those that a network's attention found, while it runs.

Works for any network made of `Mechanism`s: hooks ask each mechanism itself what it would have returned with other
weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from attention_fusion_ros.attention.mechanism import Mechanism

Weights = dict[str, dict[str, Tensor]]  # attention -> name of the weights -> (B, ...)

MEAN_MAP, MEAN_SCALAR, ONE, ANOTHER = 'mean map', 'mean scalar', 'no preference', "another scene's"
WAYS = (MEAN_MAP, MEAN_SCALAR, ONE, ANOTHER)
ALL_SPATIAL, EVERYTHING = 'all spatial', 'everything'
SPATIAL, CHANNEL = ('spatial', 'rows', 'columns', 'joint', 'heads'), ('channel', 'paths')


class NetworkOfMechanisms(Protocol):
    """The part of a network that is used: which stage each mechanism belongs to."""

    def mechanisms(self) -> dict[str, Mechanism]:
        """Stage -> its mechanism; of several blocks in a stage the last."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """As of any nn.Module."""


@dataclass(frozen=True)
class Target:
    """What is replaced together."""

    name: str
    parts: tuple[tuple[str, str], ...]  # (attention, name of the weights)

    @property
    def is_channel(self) -> bool:
        """Whether only channels are weighed."""
        return all(weight in CHANNEL for _, weight in self.parts)


@dataclass(frozen=True)
class Reference:
    """What attention is over many scenes: mean weights, and those of some scenes by their seed, without batch axis."""

    mean: Weights
    scenes: dict[int, Weights]

    def another(self, seed: int) -> Weights | None:
        """The weights of a scene that is not the one of `seed`, always the same one; None when there is none."""
        others = sorted(s for s in self.scenes if s != seed)
        return self.scenes[others[seed % len(others)]] if others else None


def attentions(network: NetworkOfMechanisms) -> dict[str, Mechanism]:
    """Every attention of the network by its stage, or by its place where the stage has several blocks."""
    stages = {id(mechanism): stage for stage, mechanism in network.mechanisms().items()}
    found: dict[str, Mechanism] = {}

    def visit(module: Any, path: str) -> None:
        for name, child in module.named_children():
            where = f'{path}.{name}' if path else name
            if isinstance(child, Mechanism):  # those inside it are its own affair
                if child.decisive:
                    found[stages.get(id(child), where)] = child
            else:
                visit(child, where)
    visit(network, '')
    return found


@contextmanager
def recorded(network: NetworkOfMechanisms) -> Iterator[Weights]:
    """The decisive weights of the sweep that the network runs on within the block, detached; filled by the run."""
    found: Weights = {}

    def hook(name: str) -> Any:
        def record(module: Mechanism, given: Any, returned: tuple[Tensor, dict[str, Tensor]]) -> None:
            weights = {key: returned[1][key].detach() for key in module.decisive if key in returned[1]}
            found.setdefault(name, weights)  # the first call is that of now, others encode earlier sweeps
        return record
    with _hooks((mechanism, hook(name)) for name, mechanism in attentions(network).items()):
        yield found


@contextmanager
def replaced(network: NetworkOfMechanisms, weights: Mapping[str, Mapping[str, Tensor]]) -> Iterator[None]:
    """Within the block the named attentions have these weights (B or 1, ...), whatever they find.

    Raises ValueError for an attention that the network does not have.
    """
    known = attentions(network)
    if unknown := set(weights) - set(known):
        raise ValueError(f'no attention called {sorted(unknown)}; there are {sorted(known)}')

    def hook(given: Mapping[str, Tensor]) -> Any:
        def change(module: Mechanism, arguments: tuple[Any, ...],
                   returned: tuple[Tensor, dict[str, Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
            changed = {key: value.expand_as(returned[1][key]).to(returned[1][key]) for key, value in given.items()}
            merged = {**returned[1], **changed}
            return module.reweighted(arguments[0], merged, *arguments[1:]), merged
        return change
    with _hooks((known[name], hook(given)) for name, given in weights.items()):
        yield


@contextmanager
def _hooks(wanted: Iterable[tuple[Mechanism, Any]]) -> Iterator[None]:
    handles = [mechanism.register_forward_hook(hook) for mechanism, hook in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def targets(found: Mapping[str, Mapping[str, Tensor]]) -> list[Target]:
    """What there is to be replaced: every attention by itself, all that weigh cells, and everything."""
    single = [Target(name, tuple((name, weight) for weight in weights)) for name, weights in found.items() if weights]
    parts = [part for target in single for part in target.parts]
    spatial = tuple(part for part in parts if part[1] in SPATIAL)
    together = [Target(ALL_SPATIAL, spatial)] if spatial else []
    return [*single, *together, *([Target(EVERYTHING, tuple(parts))] if parts else [])]


def replacement(how: str, target: Target, own: Mapping[str, Mapping[str, Tensor]], network: NetworkOfMechanisms,
                reference: Reference, seeds: Iterable[int]) -> Weights | None:
    """Weights for `replaced`, of one of WAYS, for the scenes of `seeds`, whose own weights are (B, ...).

    None where there are none: no other scene is known. A correction has no scalar; it is replaced by its mean.
    """
    known, seeds = attentions(network), list(seeds)
    others = [reference.another(seed) for seed in seeds]
    if how == ANOTHER and any(other is None for other in others):
        return None
    found: Weights = {}
    for name, weight in target.parts:
        like, mean = own[name][weight], reference.mean[name][weight]
        if how == MEAN_MAP or (how == MEAN_SCALAR and weight == 'correction'):
            value = mean[None]
        elif how == MEAN_SCALAR:
            value = torch.full_like(mean, float(mean.mean()))[None]
        elif how == ONE:
            value = known[name].indifferent(own[name])[weight]
        else:
            value = torch.stack([other[name][weight] for other in others if other is not None])
        found.setdefault(name, {})[weight] = value.to(like)
    return found


class MeanWeights:
    """Sums up weights over scenes, and keeps those of the first scene of each batch."""

    def __init__(self) -> None:
        self._sums: Weights = {}
        self._count = 0
        self._scenes: dict[int, Weights] = {}

    def add(self, weights: Mapping[str, Mapping[str, Tensor]], seeds: list[int]) -> None:
        """Weights (B, ...) of the scenes of B seeds."""
        for name, found in weights.items():
            sums = self._sums.setdefault(name, {})
            for key, value in found.items():
                total = value.double().sum(dim=0).cpu()
                sums[key] = sums[key] + total if key in sums else total
        self._count += len(seeds)
        self._scenes[seeds[0]] = {name: {key: value[0].float().cpu() for key, value in found.items()}
                                  for name, found in weights.items()}

    def merge(self, other: MeanWeights, scenes: int = 16) -> None:
        """Add another's; of single scenes no more than `scenes` are kept."""
        for name, found in other._sums.items():
            sums = self._sums.setdefault(name, {})
            for key, value in found.items():
                sums[key] = sums[key] + value if key in sums else value
        self._count += other._count
        for seed, weights in other._scenes.items():
            if len(self._scenes) < scenes:
                self._scenes[seed] = weights

    def reference(self) -> Reference:
        """Raises ValueError when nothing was added."""
        if not self._count:
            raise ValueError('no scene with a map: there are no weights to take the mean of')
        mean = {name: {key: (value / self._count).float() for key, value in found.items()}
                for name, found in self._sums.items()}
        return Reference(mean, self._scenes)
