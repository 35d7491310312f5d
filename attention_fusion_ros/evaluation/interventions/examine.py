# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs one network on held-out scenes in every changed state, several scenes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attention_fusion_ros.bev.lidar import CHANNELS as LIDAR_LAYERS
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_LAYERS
from attention_fusion_ros.contracts import Mode
from attention_fusion_ros.datasets.held_out import HeldOutInfo, HeldOutScene, MapPicture
from attention_fusion_ros.evaluation.interventions import heat as heats_of
from attention_fusion_ros.evaluation.interventions.cells import coarse, patch_size, top_cells, without
from attention_fusion_ros.evaluation.interventions.heat_place import heat_places
from attention_fusion_ros.evaluation.interventions.maps import DrawnMap, SceneMaps, draw_maps
from attention_fusion_ros.evaluation.interventions.record import (
    AS_IT_IS,
    DELETED,
    EXACT,
    KEPT,
    LIDAR,
    MAP,
    MOVED,
    NO_MAP,
    NO_VEHICLES,
    REGISTERED,
    REPLACED,
    TURNED,
    WIDE_MAP,
    Key,
    SceneRecord,
    number,
)
from attention_fusion_ros.evaluation.interventions.registration import left_of
from attention_fusion_ros.evaluation.interventions.replacement import (
    WAYS,
    MeanWeights,
    Reference,
    recorded,
    replaced,
    replacement,
    targets,
)
from attention_fusion_ros.evaluation.interventions.subject import LAYERS, Answer, Subject, presence_at
from attention_fusion_ros.network.output import ROAD
from attention_fusion_ros.pipeline.preprocess import MapFeatures

DELETED_SHARES, KEPT_SHARES = (0.05, 0.1, 0.2), (0.1, 0.2, 0.4)  # of the visible cells
WHOLE = 'everything'
DENSITY, ROAD_LAYER = LIDAR_LAYERS.index('density'), MAP_LAYERS.index('road')


class Examination:
    """One network and a batch of scenes, one record for each.

    Scenes whose sweep has no point in range are left out.
    """

    def __init__(self, subject: Subject, scenes: Sequence[HeldOutScene],
                 draw: Callable[[HeldOutInfo], SceneMaps] = draw_maps):
        """draw: makes the further maps of a scene, when they are needed."""
        self.subject, self._draw = subject, draw
        found = [(scene, subject.lidar(scene)) for scene in scenes]
        self.scenes = [scene for scene, lidar in found if lidar is not None]
        self.lidar = [lidar for _, lidar in found if lidar is not None]
        self.maps: list[SceneMaps] = []
        self.records = [SceneRecord(s.info, s.truth_routed, s.truth_unrouted) for s in self.scenes]
        self.given = [self._map(scene, scene.picture) for scene in self.scenes]
        # Attention is asked about with a map that is used.
        self.mapped = [k for k, m in enumerate(self.given) if m.mode is Mode.FUSED]
        self.wide: list[MapFeatures] = []
        self.base: dict[int, Answer] = {}  # by scene
        self.with_wide: dict[int, Answer] = {}

    def _map(self, scene: HeldOutScene, picture: MapPicture | None) -> MapFeatures:
        inputs = replace(scene, picture=picture).inputs()
        return self.subject.pipeline.preprocess.map(inputs, inputs.layout)

    def weights(self) -> MeanWeights:
        """The attention of the scenes as they are."""
        found = MeanWeights()
        if self.mapped:
            with recorded(self.subject.network) as weights:
                self._ask(self.mapped, self.given)
            found.add(weights, [self.scenes[k].info.seed for k in self.mapped])
        return found

    def run(self, reference: Reference) -> list[SceneRecord]:
        """Everything, in order."""
        self.maps = [self._draw(scene.info) for scene in self.scenes]
        self._states()
        self._replacements(reference)
        self._cells()
        self._displacements()
        self._registration()
        return self.records

    def _ask(self, which: Sequence[int], maps: Sequence[MapFeatures],
             lidar: Sequence[Tensor] | None = None) -> list[Answer]:
        """maps, lidar: of all scenes, of which only those of `which` are run."""
        lidar = self.lidar if lidar is None else lidar
        return self.subject.ask([lidar[k] for k in which], [maps[k] for k in which]) if which else []

    def _keep(self, key: Key, which: Sequence[int], answers: Sequence[Answer],
              before: Mapping[int, Answer] | None = None) -> None:
        """before: the answers of all scenes that these are compared with; as it is, when left out."""
        for k, answer in zip(which, answers, strict=True):
            record, base = self.records[k], (before or self.base).get(k)
            record.answers[key] = answer.prediction
            record.numbers[number(key, 'map share')] = answer.result.attention.map_share
            record.numbers[number(key, 'presence')] = presence_at(answer.probability, record.truth(key))
            if base is not None:
                change = np.abs(answer.probability - base.probability)
                record.numbers[number(key, 'change')] = float(change.mean())

    def _states(self) -> None:
        """As it is, with wide errors, without a map, with a turned one, without vehicles."""
        everywhere = range(len(self.scenes))
        answers = self._ask(everywhere, self.given)
        self.base = dict(enumerate(answers))
        self._keep(AS_IT_IS, everywhere, answers)
        self.wide = [self._map(scene, maps.wide.picture) for scene, maps in zip(self.scenes, self.maps, strict=True)]
        answers = self._ask(everywhere, self.wide)
        self.with_wide = dict(enumerate(answers))
        self._keep(WIDE_MAP, everywhere, answers)
        nothing = [self.subject.pipeline.preprocess.no_map()] * len(self.scenes)
        self._keep(NO_MAP, everywhere, self._ask(everywhere, nothing))
        turned = [replace(m, grid=m.grid.rot90(dims=(1, 2))) for m in self.given]
        self._keep(TURNED, self.mapped, self._ask(self.mapped, turned))
        bare = [self.subject.lidar(scene, without_vehicles=True) for scene in self.scenes]
        some = [k for k, grid in enumerate(bare) if grid is not None]
        self._keep(NO_VEHICLES, some, self._ask(some, self.given, [b if b is not None else a for a, b in
                                                                  zip(self.lidar, bare, strict=True)]))

    def _replacements(self, reference: Reference) -> None:
        network = self.subject.network
        for state, maps, before in ((AS_IT_IS, self.given, self.base), (WIDE_MAP, self.wide, self.with_wide)):
            which = [k for k in self.mapped if maps[k].mode is Mode.FUSED]
            if not which:
                continue
            with recorded(network) as own:
                self._ask(which, maps)
            for target in targets(own):
                if state == WIDE_MAP and not target.is_channel:
                    continue
                for how in WAYS:
                    weights = replacement(how, target, own, network, reference,
                                          [self.scenes[k].info.seed for k in which])
                    if weights is None:
                        continue
                    with replaced(network, weights):
                        self._keep((REPLACED, *state, target.name, how), which, self._ask(which, maps), before)

    def _cells(self) -> None:
        """Cells of the grid deleted or kept by heat, and where the heat lies."""
        if not self.mapped:
            return
        grid = self.subject.pipeline.grid
        cells = grid.cells // patch_size(grid.resolution)
        lidar = torch.stack([self.lidar[k] for k in self.mapped])
        maps = torch.stack([self.given[k].grid for k in self.mapped])
        found = heats_of.heats(self.subject.network, lidar, maps, [self.base[k].result for k in self.mapped], cells)
        points = coarse((lidar[:, DENSITY] > 0).float(), cells).cpu().numpy()
        drawn = coarse((maps[:, ROAD_LAYER] > ROAD).float(), cells).cpu().numpy()
        for i, k in enumerate(self.mapped):
            scene = self.scenes[k]
            visible = coarse(torch.from_numpy(scene.cells['visible'])[None].float(), cells)[0].numpy() >= 0.5
            heat = {name: values[i] for name, values in found.items()}
            places = heat_places(self.base[k].result, heat, points[i] > 0, drawn[i] > 0, scene)
            self.records[k].numbers.update({('heat', *key): value for key, value in places.items()})
            self._deletions(k, heat, visible, points[i], drawn[i])

    def _deletions(self, k: int, heat: dict[str, np.ndarray], visible: np.ndarray, points: np.ndarray,
                   roads: np.ndarray) -> None:
        """All deletions and insertions of scene k.

        points, roads: (h, w) share of each cell that holds points, or a drawn road.
        """
        seed, seen = self.scenes[k].info.seed, int(visible.sum())
        lot = np.random.default_rng([seed, 94]).random(visible.shape)
        order = {**heat, heats_of.RANDOM: lot, heats_of.RANDOM_WITH_POINTS: lot}
        asked: list[tuple[Key, Tensor, Tensor, float]] = []
        lidar, drawn = self.lidar[k], self.given[k].grid
        nowhere = np.zeros_like(visible)

        def chosen(name: str, share: float) -> np.ndarray:
            allowed = visible & (points > 0) if name == heats_of.RANDOM_WITH_POINTS else visible
            return top_cells(order[name], allowed, round(share * seen), seed)

        def held(cells: np.ndarray, content: np.ndarray = points) -> float:
            return float((content * cells).sum() / max(content.sum(), 1e-9))
        for name in order:
            for share in DELETED_SHARES:
                cells = chosen(name, share)
                asked.append(((DELETED, LIDAR, name, f'{share:g}'), without(lidar, cells, LAYERS), drawn, held(cells)))
                if name not in (heats_of.DENSITY, heats_of.RANDOM_WITH_POINTS):
                    asked.append(((DELETED, MAP, name, f'{share:g}'), lidar, without(drawn, cells, len(drawn)),
                                  held(cells, roads)))
            for share in KEPT_SHARES:
                cells = chosen(name, share)
                asked.append(((KEPT, LIDAR, name, f'{share:g}'), without(lidar, ~cells, LAYERS), drawn, held(cells)))
        asked.append(((DELETED, LIDAR, WHOLE, '1'), without(lidar, ~nowhere, LAYERS), drawn, 1.0))
        asked.append(((DELETED, MAP, WHOLE, '1'), lidar, without(drawn, ~nowhere, len(drawn)), 1.0))
        for start in range(0, len(asked), 16):
            part = asked[start:start + 16]
            answers = self.subject.ask([grid for _, grid, _, _ in part],
                                       [replace(self.given[k], grid=grid) for _, _, grid, _ in part])
            for (key, _, _, share), answer in zip(part, answers, strict=True):
                self._keep(key, [k], [answer])
                self.records[k].numbers[number(key, 'points')] = share

    def _displacements(self) -> None:
        """Maps that are exact but for one known displacement."""
        everywhere = range(len(self.scenes))
        steps: dict[Key, list[DrawnMap]] = {EXACT: [maps.exact for maps in self.maps]}
        for way, size in self.maps[0].moved if self.maps else ():
            steps[MOVED, way, f'{size:g}'] = [maps.moved[way, size] for maps in self.maps]
        for key, drawn in steps.items():
            maps = [self._map(scene, d.picture) for scene, d in zip(self.scenes, drawn, strict=True)]
            which = [k for k in everywhere if maps[k].mode is Mode.FUSED]
            self._keep(key, which, self._ask(which, maps))
            for k in which:
                error = drawn[k].error
                self.records[k].numbers.update({(*key, 'x'): error.x, (*key, 'y'): error.y, (*key, 'yaw'): error.yaw})

    def _registration(self) -> None:
        for name in (self.maps[0].registration if self.maps else ()):
            drawn = [maps.registration[name] for maps in self.maps]
            key = (REGISTERED, name)
            for k, one in enumerate(drawn):
                before = left_of(None, one.error, self.maps[k].axis)
                self.records[k].numbers.update({
                    (*key, 'lateral before'): before.lateral, (*key, 'longitudinal before'): before.longitudinal,
                    (*key, 'yaw before'): math.degrees(before.yaw)})
            if not self.subject.registers:
                continue
            maps = [self._map(scene, d.picture) for scene, d in zip(self.scenes, drawn, strict=True)]
            which = [k for k in range(len(self.scenes)) if maps[k].mode is Mode.FUSED]
            answers = self._ask(which, maps)
            self._keep(key, which, answers)
            for k, answer in zip(which, answers, strict=True):
                a = answer.result.alignment
                if a is None:
                    continue
                left = left_of((a.dx, a.dy, a.dyaw), drawn[k].error, self.maps[k].axis, answer.covariance)
                self.records[k].numbers.update({
                    (*key, 'lateral'): left.lateral, (*key, 'longitudinal'): left.longitudinal,
                    (*key, 'yaw left'): math.degrees(left.yaw)})
                if left.holds is not None:
                    self.records[k].numbers[number(key, 'holds')] = float(left.holds)
