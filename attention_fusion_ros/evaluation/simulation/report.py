# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the held-out simulation: methods side by side; by scene class, sensor and map state; the targets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from attention_fusion_ros.datasets.held_out import CURVE_SHIFT_M, CURVE_YAW_DEG, JUNCTIONS
from attention_fusion_ros.evaluation.methods.baselines import LIDAR, MAP, STRAIGHT
from attention_fusion_ros.evaluation.plots import Curve
from attention_fusion_ros.evaluation.simulation.blanked import blanked_data, blanked_goals, blanked_rows, blanked_table
from attention_fusion_ros.evaluation.simulation.run import (
    AS_GIVEN,
    NO_LIDAR,
    NO_MAP,
    NO_VEHICLES,
    NO_VEHICLES_NO_MAP,
    PUBLISHED,
    ScenePredictions,
)
from attention_fusion_ros.evaluation.tables import (
    Goal,
    MethodRow,
    Report,
    at_least,
    at_most,
    below,
    cell,
    compare,
    goal_table,
)
from attention_fusion_ros.metrics.attention_share import attention_ratios, pooled_attention_ratio
from attention_fusion_ros.metrics.bootstrap import UNKNOWN, Estimate, mean_estimate
from attention_fusion_ros.metrics.branches import Prediction, Scores, TrueRoads, flips, invariance, score
from attention_fusion_ros.metrics.registry import BRANCHES, CURVE, DIRECTION, GROUPS, METRICS, columns
from attention_fusion_ros.metrics.summary import estimates, paired_difference, paired_ratio
from attention_fusion_ros.utils.provenance import Provenance
from attention_fusion_ros.utils.tables import Table

FINEST_STAGE = 'stage1'  # the spatial attention with the most cells, of which the published heatmap is made
MIN_GROUP_SIZE = 20  # scenes; smaller groups get no row of their own
WITHOUT_MAP = 'no map'  # a group of scenes
ATTENTION_MASKS = ('roadside', 'vehicles', 'road')
CURVES = (('shift', CURVE_SHIFT_M, 'm'), ('yaw', CURVE_YAW_DEG, 'deg'))
DEFINITIONS = ('F1@10: matched one to one within 10 deg; bearing and heading errors of matched branches; '
               "'miss = 25': every true branch, one without an answer within 25 deg counts as 25.")


Choose = Callable[[ScenePredictions], Prediction]
ChooseTruth = Callable[[ScenePredictions], TrueRoads]


def scores(scenes: Sequence[ScenePredictions], choose: Choose, truth: ChooseTruth) -> Scores:
    """Score one method's predictions over these scenes."""
    return score([choose(s) for s in scenes], [truth(s) for s in scenes])


def as_given(method: str) -> Choose:
    """The method's prediction with the scene's inputs as they are."""
    return lambda scene: scene.predictions[method]


def in_state(method: str, state: str) -> Choose:
    """The method's prediction with something withheld or removed."""
    return lambda scene: scene.states[method, state]


def truth_routed(scene: ScenePredictions) -> TrueRoads:
    """Truth for a method that sees the map."""
    return scene.truth_routed


def truth_unrouted(scene: ScenePredictions) -> TrueRoads:
    """Truth for a method that does not know the route."""
    return scene.truth_unrouted


def truth_of_map(scene: ScenePredictions) -> TrueRoads:
    """Truth for a method that sees the map where there is one."""
    return scene.truth_routed if scene.info.has_map else scene.truth_unrouted


class SimulationReport:
    """Builds the report from the predictions for all scenes.

    network: the method in question, None without one. The report is empty until `build` is called.
    """

    def __init__(self, scenes: Sequence[ScenePredictions], network: str | None, provenance: Provenance,
                 notes: Sequence[str] = ()):
        self.scenes, self.network, self.notes = list(scenes), network, tuple(notes)
        self.mapped = [s for s in scenes if s.info.has_map]
        self.curved = [s for s in scenes if s.curve]
        self.report = Report(provenance)
        self.goals: list[Goal] = []

    def build(self) -> Report:
        """Everything: tables, data and targets."""
        self._composition()
        self._methods()
        self._directions()
        if self.network:
            self._groups(self.network)
            self._curve(self.network)
            self._vehicles(self.network)
            self._blanked(self.network)
            self._attention()
            self.report.data['targets'] = self.goals
            self.report.tables.insert(0, goal_table('Held-out simulation: targets', self.goals))
        return self.report

    def _network_first(self, methods: Iterable[str]) -> list[str]:
        return sorted(methods, key=lambda name: name != self.network)

    def _composition(self) -> None:
        n, first, last = len(self.scenes), self.scenes[0].info.seed, self.scenes[-1].info.seed
        classes, counts = np.unique([s.info.scene_class for s in self.scenes], return_counts=True)
        junctions = sum(s.info.scene_class in JUNCTIONS for s in self.scenes) / n
        several = sum(len(s.truth_unrouted.branches) > 2 for s in self.scenes) / n
        with_map = len(self.mapped) / n
        self.report.data['scenes'] = {'number': n, 'classes': dict(zip(classes.tolist(), counts.tolist(), strict=True)),
                                      'junctions': junctions, 'three or more branches': several,
                                      'with a map': with_map, 'seeds': [first, last]}
        self.notes += (f'{n} scenes, seeds {first} to {last}, {junctions:.0%} junctions, {several:.0%} with three or '
                       f'more branches on the ring, {with_map:.0%} with a map.',)
        if self.network:
            self.goals += [at_least('number of scenes', Estimate(float(n)), 2000, 0),
                           at_least('share of junctions', Estimate(junctions), 0.4, 2)]

    def _row(self, method: str, ours: Scores | None, theirs: Scores, names: Sequence[str]) -> MethodRow:
        differences = None if ours is None else {name: paired_difference(name, theirs, ours) for name in names}
        return MethodRow((method, str(len(theirs))), estimates(theirs, names), differences)

    def _compare(self, title: str, scenes: Sequence[ScenePredictions], methods: dict[str, Choose], truth: ChooseTruth,
                 names: Sequence[str], key: str) -> dict[str, Scores]:
        """A table of methods on the same scenes; the network comes first where there is one."""
        if not scenes:
            return {}
        scored = {name: scores(scenes, choose, truth) for name, choose in methods.items()}
        ours = scored.get(self.network) if self.network else None
        rows = [self._row(name, None if name == self.network else ours, s, names) for name, s in scored.items()]
        self.report.tables.append(compare(title, ('method', 'scenes'), rows, names, (DEFINITIONS, *self.notes)))
        self.report.data[key] = {name: row.estimates for name, row in zip(scored, rows, strict=True)}
        return scored

    def _methods(self) -> None:
        given = {name: as_given(name) for name in self._network_first(self.scenes[0].predictions)}
        network = self.network
        withheld = {}
        if network:
            withheld = {f'{network}, {state}': in_state(network, state) for state in (NO_MAP, NO_LIDAR)}
        fused = self._compare('Held-out simulation: branches, scenes with a map at the standard error', self.mapped,
                              given | withheld, truth_routed, columns(BRANCHES), 'branches with a map')
        without_map = {name: choose for name, choose in given.items() if name != MAP}
        if network:
            lidar = {name: as_given(name) for name in given if name.startswith('LiDAR')}
            without_map = {network: in_state(network, NO_MAP), STRAIGHT: as_given(STRAIGHT), **lidar}
        blind = self._compare('Held-out simulation: branches, every scene without its map', self.scenes, without_map,
                              truth_unrouted, columns(BRANCHES), 'branches without a map')
        if network and fused:
            self._branch_goals(network, fused, estimates(blind[network]))

    def _branch_goals(self, network: str, fused: dict[str, Scores], without_map: dict[str, Estimate]) -> None:
        ours = fused[network]
        with_map = estimates(ours)
        self.goals += [
            at_least('branch F1@10, fused', with_map['f1_10'], 0.92),
            at_least('branch F1@10, no map', without_map['f1_10'], 0.82),
            at_most('bearing error median, fused [deg]', with_map['bearing_median'], 1.5),
            at_most('bearing error p90, fused [deg]', with_map['bearing_p90'], 6.0),
            at_most('heading error median, fused [deg]', with_map['heading_median'], 2.0),
            at_most('expected calibration error, fused', with_map['calibration_error'], 0.03, 3),
            at_most('expected calibration error, no map', without_map['calibration_error'], 0.03, 3)]
        concatenation = [name for name in fused if 'concat' in name] or ['plain concatenation']
        for metric, what in (('bearing_median', 'matched'), ('nearest_median', 'miss = 25')):
            self.goals.append(at_most(f'bearing median divided by that of {MAP}, {what}',
                                      paired_ratio(metric, ours, fused[MAP]), 0.5))
            for name in (f'{network}, {NO_MAP}', *concatenation):
                gap = paired_difference(metric, ours, fused[name]) if name in fused else UNKNOWN
                self.goals.append(below(f'bearing median minus that of {name}, {what} [deg]', gap))

    def _directions(self) -> None:
        routed = [s for s in self.mapped if s.info.route_drawn]
        plain = [s for s in self.mapped if not s.info.route_drawn]
        methods = {name: as_given(name) for name in self._network_first(self.scenes[0].predictions)}
        found = self._compare('Held-out simulation: the branch to take, route drawn', routed, methods, truth_routed,
                              columns(DIRECTION), 'direction with a route')
        self._compare('Held-out simulation: the branch to take, map without a route', plain, methods, truth_unrouted,
                      columns(DIRECTION), 'direction without a route')
        if self.network and found:
            within = estimates(found[self.network])['direction_within_5']
            self.goals.append(at_least('direction within 5 deg, route drawn', within, 0.9))

    def _groups(self, network: str) -> None:
        """The network and the baselines over groups of scenes."""
        groups = {'scene class': _scene_class, 'sensor': _sensor, 'map state': _map_state, 'map error': _map_error}
        for name, group_of in groups.items():
            members: dict[str, list[ScenePredictions]] = {}
            for scene in self.scenes:
                members.setdefault(group_of(scene), []).append(scene)
            large = sorted(group for group, scenes in members.items() if len(scenes) >= MIN_GROUP_SIZE)
            rows = [row for group in large for row in self._group_rows(network, group, members[group])]
            if not rows:
                continue
            self.report.tables.append(compare(
                f'Held-out simulation: by {name}', (name, 'method', 'scenes'), rows, columns(GROUPS),
                self.notes + (f'Groups of fewer than {MIN_GROUP_SIZE} scenes are left out.',)))
            self.report.data[f'network by {name}'] = {row.labels[0]: row.estimates for row in rows
                                                      if row.labels[1] == network}

    def _group_rows(self, network: str, group: str, scenes: Sequence[ScenePredictions]) -> list[MethodRow]:
        without_map = f'{network}, {NO_MAP}'
        methods = {network: (as_given(network), truth_of_map),
                   without_map: (in_state(network, NO_MAP), truth_unrouted),
                   MAP: (as_given(MAP), truth_of_map),
                   LIDAR: (as_given(LIDAR), truth_unrouted),
                   STRAIGHT: (as_given(STRAIGHT), truth_unrouted)}
        rows: list[MethodRow] = []
        ours = None
        for method, (choose, truth) in methods.items():
            if group == WITHOUT_MAP and method in (MAP, without_map):
                continue  # no prediction; the same as the network
            found = scores(scenes, choose, truth)
            row = self._row(method, ours, found, columns(GROUPS))
            rows.append(MethodRow((group, *row.labels), row.estimates, row.differences))
            ours = found if method == network else ours
        return rows

    def _curve_methods(self) -> list[str]:
        return self._network_first(dict.fromkeys(m for s in self.curved[:1] for m, _, _ in s.curve))

    def _on_curve(self, method: str, kind: str, size: float) -> Scores:
        return scores(self.curved, lambda scene: scene.curve[method, kind, size], truth_unrouted)

    def _without_map_on_curve(self, network: str) -> Scores:
        return scores(self.curved, in_state(network, NO_MAP), truth_unrouted)

    def curves(self, network: str) -> tuple[list[Curve], list[Curve], Estimate]:
        """Median direction error over map shift, over map yaw, of every method, and the network's without a map."""
        drawn = []
        for kind, sizes, _ in CURVES:
            curves = []
            for method in self._curve_methods():
                errors = tuple(_direction_median(self._on_curve(method, kind, size)) for size in sizes)
                curves.append(Curve(method, tuple(sizes), errors))
            drawn.append(curves)
        return drawn[0], drawn[1], _direction_median(self._without_map_on_curve(network))

    def _curve(self, network: str) -> None:
        if not self.curved:
            return
        blind = self._without_map_on_curve(network)
        rows, worst = [], UNKNOWN
        shown = [METRICS[name] for name in columns(CURVE)]
        first, others = METRICS['direction_median'], [m for m in shown if m.name != 'direction_median']
        data = self.report.data['map-error curve'] = {}
        points = [(kind, size, unit) for kind, sizes, unit in CURVES for size in sizes]
        for (kind, size, unit), method in itertools.product(points, self._curve_methods()):
            found = self._on_curve(method, kind, size)
            gap = paired_difference(first.name, found, blind)
            values = estimates(found, columns(CURVE))
            rows.append((f'{kind} {size:g} {unit}', method, cell(values[first.name], first.decimals),
                         cell(gap, first.decimals), *(cell(values[m.name], m.decimals) for m in others)))
            data[f'{kind} {size:g}', method] = values
            if method == network and not gap.value <= worst.value:  # also when none is known yet
                worst = gap
        header = ('map error', 'method', first.title, f'minus the network, {NO_MAP} [deg]', *(m.title for m in others))
        note = (f'{len(self.curved)} scenes, no route drawn, no roads missing or added; the network without a map: '
                f'{cell(_direction_median(blind), 2)} deg.')
        self.report.tables.append(Table('Held-out simulation: map-error curve', header, rows, (note,)))
        self.goals.append(at_most('direction median, worst map error up to 8 m or 15 deg, minus no map [deg]', worst,
                                  1.0))

    def _blanked(self, network: str) -> None:
        rows = blanked_rows(self.scenes, network)
        if rows:
            self.report.tables.append(blanked_table(rows, self.notes))
            self.report.data['sectors removed'] = blanked_data(rows)
            self.goals += blanked_goals(rows)

    def _vehicles(self, network: str) -> None:
        """The same scenes with and without vehicles."""
        compared = [s for s in self.scenes if any(state == NO_VEHICLES for _, state in s.states)]
        if not compared:
            return
        methods = self._network_first({m for m, state in compared[0].states if state == NO_VEHICLES})
        rows = [self._invariance(compared, method, as_given(method), in_state(method, NO_VEHICLES))
                for method in methods]
        rows.insert(1, self._invariance(compared, f'{network}, {NO_MAP}', in_state(network, NO_MAP),
                                        in_state(network, NO_VEHICLES_NO_MAP)))
        self.report.tables.append(Table(
            'Held-out simulation: vehicles added or removed',
            ('method', 'scenes', 'mean change of the direction [deg]', 'median [deg]', 'direction appears or vanishes'),
            rows, ('The same scene, sensor and noise with and without vehicles.', *self.notes)))

    def _invariance(self, scenes: Sequence[ScenePredictions], name: str, with_vehicles: Choose,
                    without_vehicles: Choose) -> tuple[str, ...]:
        a, b = [with_vehicles(s) for s in scenes], [without_vehicles(s) for s in scenes]
        change = invariance(a, b)
        mean, flipped = mean_estimate(change), flips(a, b)
        known = change[np.isfinite(change)]
        median = float(np.median(known)) if len(known) else math.nan
        self.report.data.setdefault('vehicles', {})[name] = {'mean change': mean, 'median change': median,
                                                              'appears or vanishes': flipped}
        if name == self.network:
            self.goals.append(at_most('direction change when vehicles are added or removed, mean [deg]', mean, 1.0))
        return name, str(len(known)), cell(mean, 2), cell(Estimate(median), 2), f'{flipped:.3f}'

    def shares(self) -> dict[str, dict[str, np.ndarray]]:
        """Weights -> mask -> (n, 2) shares of attention and area of every scene that has a map."""
        unknown = (math.nan, math.nan)
        found: dict[str, dict[str, np.ndarray]] = {}
        for weights in dict.fromkeys(w for s in self.mapped for w in s.attention):
            found[weights] = {mask: np.array([s.attention.get(weights, {}).get(mask, unknown) for s in self.mapped])
                              for mask in ATTENTION_MASKS}
        return found

    def ratios(self) -> dict[str, dict[str, np.ndarray]]:
        """Weights -> mask -> (n,) attention ratio of every scene that has a map."""
        return {weights: {mask: attention_ratios(values) for mask, values in shares.items()}
                for weights, shares in self.shares().items()}

    def _attention(self) -> None:
        pooled = {weights: {mask: pooled_attention_ratio(values) for mask, values in shares.items()}
                  for weights, shares in self.shares().items()}
        mean = {weights: {mask: mean_estimate(values) for mask, values in ratios.items()}
                for weights, ratios in self.ratios().items()}
        lidar = {state: mean_estimate([s.lidar_share[state] for s in self.mapped if state in s.lidar_share])
                 for state in (AS_GIVEN, NO_MAP)}
        self.report.data |= {'attention ratio, pooled': pooled, 'attention ratio, mean over scenes': mean,
                             'LiDAR share of channel attention': lidar}
        ways = {'pooled': pooled, 'mean over scenes': mean}
        rows = []
        for weights, (how, found) in itertools.product(pooled, ways.items()):
            rows.append((weights, how, *(cell(found[weights][mask], 2) for mask in ATTENTION_MASKS)))
        notes = ('Share of the spatial attention divided by the share of the visible area; 1 is no preference. Pooled: '
                 'shares are summed over the scenes before they are divided. Roadside: structure within 6 m outside '
                 'the road edge.',
                 f"'{PUBLISHED}' is the finest stage, stretched to its own range; the others are raw weights.",
                 f'LiDAR share of the channel attention: {cell(lidar[AS_GIVEN], 3)} with the map, '
                 f'{cell(lidar[NO_MAP], 3)} without.')
        self.report.tables.append(Table('Held-out simulation: attention ratios',
                                        ('spatial weights', 'over scenes', *ATTENTION_MASKS), rows,
                                        notes + self.notes))
        for how, found in ways.items():
            for weights in (w for w in (PUBLISHED, FINEST_STAGE) if w in found):
                self.goals += [
                    at_least(f'attention ratio roadside, {weights}, {how}', found[weights]['roadside'], 2.0, 2),
                    at_most(f'attention ratio vehicles, {weights}, {how}', found[weights]['vehicles'], 0.5)]

    def reliability(self, network: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """State -> (P,) probabilities of the network's branches, and (P,) bool whether they exist."""
        fused = scores(self.mapped, as_given(network), truth_routed)
        blind = scores(self.scenes, in_state(network, NO_MAP), truth_unrouted)
        return {'fused': (fused.probability, fused.correct), 'no map': (blind.probability, blind.correct)}

    def errors(self) -> dict[str, dict[str, np.ndarray]]:
        """Panel -> method -> (T,) bearing error of every true branch, deg; a miss counts as 25."""
        methods = {name: as_given(name) for name in self._network_first(self.scenes[0].predictions)}
        panels = {'with a map': {name: scores(self.mapped, choose, truth_routed).nearest_error
                                 for name, choose in methods.items()}}
        if self.network:
            panels['with a map'][f'{self.network}, {NO_MAP}'] = scores(
                self.mapped, in_state(self.network, NO_MAP), truth_unrouted).nearest_error
        junctions = [s for s in self.mapped if s.info.scene_class in JUNCTIONS] if self.network else []
        if junctions:
            panels['with a map, junctions'] = {name: scores(junctions, choose, truth_routed).nearest_error
                                               for name, choose in methods.items()}
        return panels


def _direction_median(found: Scores) -> Estimate:
    return estimates(found, ('direction_median',))['direction_median']


def _scene_class(scene: ScenePredictions) -> str:
    return scene.info.scene_class


def _sensor(scene: ScenePredictions) -> str:
    return scene.info.sensor


def _map_state(scene: ScenePredictions) -> str:
    if not scene.info.has_map:
        return WITHOUT_MAP
    return 'map with a route' if scene.info.route_drawn else 'map without a route'


def _map_error(scene: ScenePredictions) -> str:
    if not scene.info.has_map:
        return WITHOUT_MAP
    shift, yaw = math.hypot(*scene.info.map_shift), abs(math.degrees(scene.info.map_yaw))
    near = 'under 2 m' if shift < 2 else '2 to 4 m' if shift < 4 else 'over 4 m'
    return f'{near}, {"under 4 deg" if yaw < 4 else "over 4 deg"}'
