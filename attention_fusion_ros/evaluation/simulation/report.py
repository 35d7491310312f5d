# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the held-out simulation: methods side by side; by scene class, sensor and map state; the targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from attention_fusion_ros.datasets.held_out import CURVE_SHIFT, CURVE_YAW, JUNCTIONS
from attention_fusion_ros.evaluation.methods.baselines import LIDAR, MAP, STRAIGHT
from attention_fusion_ros.evaluation.plots import Curve
from attention_fusion_ros.evaluation.simulation.run import BARE, BARE_NO_MAP, NO_LIDAR, NO_MAP, PUBLISHED, SceneAnswers
from attention_fusion_ros.evaluation.tables import (
    Report,
    Row,
    Target,
    at_least,
    at_most,
    below,
    cell,
    compare,
    target_table,
)
from attention_fusion_ros.metrics import branches as metrics
from attention_fusion_ros.metrics.branches import Estimate, Figure, Scores, TrueRoads
from attention_fusion_ros.utils.provenance import Provenance
from attention_fusion_ros.utils.tables import Table

BRANCH_COLUMNS = ('f1_10', 'bearing_median', 'bearing_p90', 'nearest_median', 'heading_median', 'heading_p90',
                  'calibration_error')
DIRECTION_COLUMNS = ('direction_median', 'direction_p90', 'direction_within_5', 'direction_given')
FINEST = 'stage1'  # the spatial attention with the most cells, of which the published heatmap is made
MANY = 20  # scenes; smaller groups get no row of their own
UNKNOWN = Figure(math.nan, math.nan, math.nan)
DEFINITIONS = ('F1@10: matched one to one within 10 deg; bearing and heading errors of matched branches; '
               "'miss = 25': every true branch, one without an answer within 25 deg counts as 25.")


def scores(answers: Sequence[SceneAnswers], ask: Callable[[SceneAnswers], Estimate],
           truth: Callable[[SceneAnswers], TrueRoads]) -> Scores:
    """Score one method's answers over these scenes."""
    return metrics.score([ask(a) for a in answers], [truth(a) for a in answers])


def as_given(method: str) -> Callable[[SceneAnswers], Estimate]:
    """The method's answer with the scene's inputs as they are."""
    return lambda a: a.estimates[method]


def in_state(method: str, state: str) -> Callable[[SceneAnswers], Estimate]:
    """The method's answer with something withheld or removed."""
    return lambda a: a.states[method, state]


def with_route(a: SceneAnswers) -> TrueRoads:
    """Truth for a method that sees the map."""
    return a.with_route


def without_route(a: SceneAnswers) -> TrueRoads:
    """Truth for a method that does not know the route."""
    return a.without_route


class SimulationReport:
    """Builds the report from the answers of all scenes. `network` is the method in question, None without one."""

    def __init__(self, answers: Sequence[SceneAnswers], network: str | None, provenance: Provenance,
                 notes: Sequence[str] = ()):
        self.answers, self.network, self.notes = list(answers), network, tuple(notes)
        self.mapped = [a for a in answers if a.info.has_map]
        self.curved = [a for a in answers if a.curve]
        self.report = Report(provenance)
        self.targets: list[Target] = []

    def build(self) -> Report:
        """Everything."""
        self._composition()
        self._methods()
        self._directions()
        if self.network:
            self._groups()
            self._curve()
            self._vehicles()
            self._attention()
            self.report.data['targets'] = self.targets
            self.report.tables.insert(0, target_table('Held-out simulation: targets', self.targets))
        return self.report

    def _composition(self) -> None:
        n = len(self.answers)
        classes, counts = np.unique([a.info.scene_class for a in self.answers], return_counts=True)
        junctions = sum(a.info.scene_class in JUNCTIONS for a in self.answers) / n
        several = sum(len(a.without_route.branches) > 2 for a in self.answers) / n
        self.report.data['scenes'] = {'number': n, 'classes': dict(zip(classes.tolist(), counts.tolist(), strict=True)),
                                      'junctions': junctions, 'three or more branches': several,
                                      'with a map': len(self.mapped) / n,
                                      'seeds': [self.answers[0].info.seed, self.answers[-1].info.seed]}
        self.notes += (f'{n} scenes, seeds {self.answers[0].info.seed} to {self.answers[-1].info.seed}, '
                       f'{junctions:.0%} junctions, {several:.0%} with three or more branches on the ring, '
                       f'{len(self.mapped) / n:.0%} with a map.',)
        if self.network:
            self.targets += [at_least('number of scenes', Figure(float(n), math.nan, math.nan), 2000, 0),
                             at_least('share of junctions', Figure(junctions, math.nan, math.nan), 0.4, 2)]

    def _row(self, method: str, ours: Scores | None, theirs: Scores, columns: Sequence[str]) -> Row:
        gaps = None if ours is None else {c: metrics.difference(c, theirs, ours) for c in columns}
        return Row((method, str(len(theirs))), metrics.summarise(theirs, names=columns), gaps)

    def _compare(self, title: str, answers: Sequence[SceneAnswers], methods: dict[str, Callable],
                 truth: Callable[[SceneAnswers], TrueRoads], columns: Sequence[str], key: str) -> dict[str, Scores]:
        """A table of methods on the same scenes; the network comes first where there is one."""
        if not answers:
            return {}
        scored = {name: scores(answers, ask, truth) for name, ask in methods.items()}
        ours = scored.get(self.network)
        rows = [self._row(name, None if name == self.network else ours, s, columns) for name, s in scored.items()]
        self.report.tables.append(compare(title, ('method', 'scenes'), rows, columns, (DEFINITIONS, *self.notes)))
        self.report.data[key] = {name: row.figures for name, row in zip(scored, rows, strict=True)}
        return scored

    def _methods(self) -> None:
        names = list(self.answers[0].estimates)
        ordered = sorted(names, key=lambda name: name != self.network)
        methods = {name: as_given(name) for name in ordered}
        if self.network:
            methods[f'{self.network}, {NO_MAP}'] = in_state(self.network, NO_MAP)
            methods[f'{self.network}, {NO_LIDAR}'] = in_state(self.network, NO_LIDAR)
            methods = {name: methods[name] for name in sorted(methods, key=lambda name: name != self.network)}
        fused = self._compare('Held-out simulation: branches, scenes with a map at the standard error', self.mapped,
                              methods, with_route, BRANCH_COLUMNS, 'branches with a map')
        without = {name: ask for name, ask in methods.items() if name not in (MAP, f'{self.network}, {NO_LIDAR}')}
        if self.network:
            without[self.network] = in_state(self.network, NO_MAP)
            without.pop(f'{self.network}, {NO_MAP}')
            without = {n: without[n] for n in (self.network, STRAIGHT, *(m for m in without if m.startswith('LiDAR')))}
        blind = self._compare('Held-out simulation: branches, every scene without its map', self.answers, without,
                              without_route, BRANCH_COLUMNS, 'branches without a map')
        if self.network and fused:
            self._branch_targets(fused, blind)

    def _branch_targets(self, fused: dict[str, Scores], blind: dict[str, Scores]) -> None:
        ours, figures = fused[self.network], metrics.summarise(fused[self.network])
        self.targets += [
            at_least('branch F1@10, fused', figures['f1_10'], 0.92),
            at_least('branch F1@10, no map', metrics.summarise(blind[self.network])['f1_10'], 0.82),
            at_most('bearing error median, fused [deg]', figures['bearing_median'], 1.5),
            at_most('bearing error p90, fused [deg]', figures['bearing_p90'], 6.0),
            at_most('heading error median, fused [deg]', figures['heading_median'], 2.0),
            at_most('expected calibration error, fused', figures['calibration_error'], 0.03, 3),
            at_most('expected calibration error, no map',
                    metrics.summarise(blind[self.network])['calibration_error'], 0.03, 3)]
        for statistic, what in (('bearing_median', 'matched'), ('nearest_median', 'miss = 25')):
            half = metrics.combination(statistic, ours, fused[MAP], lambda a, b: a / b)
            self.targets.append(at_most(f'bearing median divided by that of {MAP}, {what}', half, 0.5))
            withheld, concatenation = f'{self.network}, {NO_MAP}', [n for n in fused if 'concat' in n]
            for n in (withheld, *(concatenation or ['plain concatenation'])):
                gap = metrics.difference(statistic, ours, fused[n]) if n in fused else UNKNOWN
                self.targets.append(below(f'bearing median minus that of {n}, {what} [deg]', gap))

    def _directions(self) -> None:
        routed = [a for a in self.mapped if a.info.route_drawn]
        plain = [a for a in self.mapped if not a.info.route_drawn]
        names = sorted(self.answers[0].estimates, key=lambda name: name != self.network)
        found = self._compare('Held-out simulation: the branch to take, route drawn', routed,
                              {n: as_given(n) for n in names}, with_route, DIRECTION_COLUMNS, 'direction with a route')
        self._compare('Held-out simulation: the branch to take, map without a route', plain,
                      {n: as_given(n) for n in names}, without_route, DIRECTION_COLUMNS, 'direction without a route')
        if self.network and found:
            within = metrics.summarise(found[self.network])['direction_within_5']
            self.targets.append(at_least('direction within 5 deg, route drawn', within, 0.9))

    def _groups(self) -> None:
        """The network and the baselines over groups of scenes."""
        columns = ('f1_10', 'bearing_median', 'bearing_p90', 'heading_median', 'direction_within_5',
                   'calibration_error')
        groups = {
            'scene class': lambda a: a.info.scene_class,
            'sensor': lambda a: a.info.sensor,
            'map state': _map_state,
            'map error': lambda a: 'no map' if not a.info.has_map else _error_class(a)}
        methods = {self.network: (as_given(self.network), _told),
                   f'{self.network}, {NO_MAP}': (in_state(self.network, NO_MAP), without_route),
                   MAP: (as_given(MAP), _told),
                   LIDAR: (as_given(LIDAR), without_route),
                   STRAIGHT: (as_given(STRAIGHT), without_route)}
        for name, key in groups.items():
            members: dict[str, list[SceneAnswers]] = {}
            for a in self.answers:
                members.setdefault(key(a), []).append(a)
            rows = []
            for group in sorted(g for g in members if len(members[g]) >= MANY):
                ours = None
                for method, (ask, truth) in methods.items():
                    if group == 'no map' and method in (MAP, f'{self.network}, {NO_MAP}'):
                        continue  # nothing to go by; the same as the network
                    found = scores(members[group], ask, truth)
                    row = self._row(method, ours, found, columns)
                    rows.append(Row((group, *row.labels), row.figures, row.gaps))
                    ours = found if method == self.network else ours
            if not rows:
                continue
            self.report.tables.append(compare(
                f'Held-out simulation: by {name}', (name, 'method', 'scenes'), rows, columns,
                self.notes + (f'Groups of fewer than {MANY} scenes are left out.',)))
            self.report.data[f'network by {name}'] = {r.labels[0]: r.figures for r in rows
                                                      if r.labels[1] == self.network}

    def curves(self) -> tuple[list[Curve], list[Curve], Figure]:
        """Median direction error over map shift and map yaw of every method asked, and the network's without a map."""
        asked = self.curved
        methods = list(dict.fromkeys(m for a in asked[:1] for m, _, _ in a.curve))
        drawn = []
        for kind, sizes in (('shift', CURVE_SHIFT), ('yaw', CURVE_YAW)):
            curves = []
            for method in sorted(methods, key=lambda m: m != self.network):
                figures = [_direction(self._on_curve(asked, method, kind, s)) for s in sizes]
                curves.append(Curve(method, tuple(sizes), tuple(figures)))
            drawn.append(curves)
        blind = scores(asked, in_state(self.network, NO_MAP), without_route)
        return drawn[0], drawn[1], _direction(blind)

    def _on_curve(self, asked, method: str, kind: str, size: float) -> Scores:
        return scores(asked, lambda a: a.curve[method, kind, size], without_route)

    def _curve(self) -> None:
        asked = self.curved
        if not asked:
            return
        blind = scores(asked, in_state(self.network, NO_MAP), without_route)
        methods = sorted(dict.fromkeys(m for m, _, _ in asked[0].curve), key=lambda m: m != self.network)
        rows, worst = [], Figure(math.nan, math.nan, math.nan)
        for kind, sizes, unit in (('shift', CURVE_SHIFT, 'm'), ('yaw', CURVE_YAW, 'deg')):
            for size in sizes:
                for method in methods:
                    found = self._on_curve(asked, method, kind, size)
                    gap = metrics.difference('direction_median', found, blind)
                    figures = metrics.summarise(found, names=('direction_median', 'f1_10', 'nearest_median'))
                    rows.append((f'{kind} {size:g} {unit}', method, cell(figures['direction_median'], 2), cell(gap, 2),
                                 cell(figures['f1_10'], 3), cell(figures['nearest_median'], 2)))
                    self.report.data.setdefault('map-error curve', {})[f'{kind} {size:g}', method] = figures
                    if method == self.network and not gap.value <= worst.value:  # also when nothing is known yet
                        worst = gap
        header = ('map error', 'method', 'direction median [deg]', f'minus the network, {NO_MAP} [deg]', 'F1@10',
                  'bearing, miss = 25, median [deg]')
        note = (f'{len(asked)} scenes, no route drawn, no roads missing or added; the network without a map: '
                f'{cell(_direction(blind), 2)} deg.')
        self.report.tables.append(Table('Held-out simulation: map-error curve', header, rows, (note,)))
        self.targets.append(at_most('direction median, worst map error up to 8 m or 15 deg, minus no map [deg]', worst,
                                    1.0))

    def _vehicles(self) -> None:
        """The same scenes with and without vehicles."""
        rows = []
        compared = [a for a in self.answers if any(state == BARE for _, state in a.states)]
        if not compared:
            return
        for method in sorted({m for m, state in compared[0].states if state == BARE}, key=lambda m: m != self.network):
            rows.append(self._invariance(compared, method, as_given(method), in_state(method, BARE)))
        rows.insert(1, self._invariance(compared, f'{self.network}, {NO_MAP}',
                                        in_state(self.network, NO_MAP), in_state(self.network, BARE_NO_MAP)))
        self.report.tables.append(Table(
            'Held-out simulation: vehicles added or removed',
            ('method', 'scenes', 'mean change of the direction [deg]', 'median [deg]', 'direction appears or vanishes'),
            rows, ('The same scene, sensor and noise with and without vehicles.', *self.notes)))

    def _invariance(self, compared, name: str, full, bare) -> tuple[str, ...]:
        a, b = [full(x) for x in compared], [bare(x) for x in compared]
        change = metrics.invariance(a, b)
        mean = metrics.mean_figure(change)
        known = change[np.isfinite(change)]
        median = float(np.median(known)) if len(known) else math.nan
        flips = metrics.flips(a, b)
        self.report.data.setdefault('vehicles', {})[name] = {'mean change': mean, 'median change': median,
                                                              'appears or vanishes': flips}
        if name == self.network:
            self.targets.append(at_most('direction change when vehicles are added or removed, mean [deg]', mean, 1.0))
        return name, str(len(known)), cell(mean, 2), cell(Figure(median, math.nan, math.nan), 2), f'{flips:.3f}'

    def shares(self) -> dict[str, dict[str, np.ndarray]]:
        """Weights -> mask -> (n, 2) shares of attention and area of every scene that has a map."""
        weights = list(dict.fromkeys(w for a in self.mapped for w in a.attention))
        unknown = (math.nan, math.nan)
        return {w: {m: np.array([a.attention.get(w, {}).get(m, unknown) for a in self.mapped])
                    for m in ('roadside', 'vehicles', 'road')} for w in weights}

    def ratios(self) -> dict[str, dict[str, np.ndarray]]:
        """Weights -> mask -> (n,) attention ratio of every scene that has a map."""
        return {w: {m: metrics.attention_ratios(shares) for m, shares in of.items()} for w, of in self.shares().items()}

    def _attention(self) -> None:
        pooled = {w: {m: metrics.pooled_attention_ratio(s) for m, s in of.items()} for w, of in self.shares().items()}
        mean = {w: {m: metrics.mean_figure(r) for m, r in of.items()} for w, of in self.ratios().items()}
        lidar = {state: metrics.mean_figure([a.lidar_share[state] for a in self.mapped if state in a.lidar_share])
                 for state in ('as given', NO_MAP)}
        self.report.data |= {'attention ratio, pooled': pooled, 'attention ratio, mean over scenes': mean,
                             'LiDAR share of channel attention': lidar}
        rows = [(w, how, *(cell(of[w][m], 2) for m in ('roadside', 'vehicles', 'road')))
                for w in pooled for how, of in (('pooled', pooled), ('mean over scenes', mean))]
        notes = ('Share of the spatial attention divided by the share of the visible area; 1 is no preference. Pooled: '
                 'shares are summed over the scenes before they are divided. Roadside: structure within 6 m outside '
                 'the road edge.',
                 f"'{PUBLISHED}' is the finest stage, stretched to its own range; the others are raw weights.",
                 f'LiDAR share of the channel attention: {cell(lidar["as given"], 3)} with the map, '
                 f'{cell(lidar[NO_MAP], 3)} without.')
        self.report.tables.append(Table('Held-out simulation: attention ratios',
                                        ('spatial weights', 'over scenes', 'roadside', 'vehicles', 'road'), rows,
                                        notes + self.notes))
        for how, of in (('pooled', pooled), ('mean over scenes', mean)):
            for name in (w for w in (PUBLISHED, FINEST) if w in of):
                self.targets += [at_least(f'attention ratio roadside, {name}, {how}', of[name]['roadside'], 2.0, 2),
                                 at_most(f'attention ratio vehicles, {name}, {how}', of[name]['vehicles'], 0.5)]

    def reliability(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """State -> probabilities of the network's branches, and whether they exist."""
        fused = scores(self.mapped, as_given(self.network), with_route)
        blind = scores(self.answers, in_state(self.network, NO_MAP), without_route)
        return {'fused': (fused.probability, fused.correct), 'no map': (blind.probability, blind.correct)}

    def errors(self) -> dict[str, dict[str, np.ndarray]]:
        """Panel -> method -> bearing error of every true branch, deg; a miss counts as 25."""
        named = {name: as_given(name) for name in sorted(self.answers[0].estimates, key=lambda n: n != self.network)}
        panels = {'with a map': {n: scores(self.mapped, ask, with_route).nearest_error for n, ask in named.items()}}
        if self.network:
            panels['with a map'][f'{self.network}, {NO_MAP}'] = scores(
                self.mapped, in_state(self.network, NO_MAP), without_route).nearest_error
            junctions = [a for a in self.mapped if a.info.scene_class in JUNCTIONS]
            panels['with a map, junctions'] = {n: scores(junctions, ask, with_route).nearest_error
                                               for n, ask in named.items()} if junctions else {}
        return {title: errors for title, errors in panels.items() if errors}


def _direction(found: Scores) -> Figure:
    return metrics.summarise(found, names=('direction_median',))['direction_median']


def _told(a: SceneAnswers) -> TrueRoads:
    """Truth for a method that sees whatever map there is."""
    return a.with_route if a.info.has_map else a.without_route


def _map_state(a: SceneAnswers) -> str:
    if not a.info.has_map:
        return 'no map'
    return 'map with a route' if a.info.route_drawn else 'map without a route'


def _error_class(a: SceneAnswers) -> str:
    shift, yaw = math.hypot(a.info.map_shift[0], a.info.map_shift[1]), abs(math.degrees(a.info.map_yaw))
    near = 'under 2 m' if shift < 2 else '2 to 4 m' if shift < 4 else 'over 4 m'
    return f'{near}, {"under 4 deg" if yaw < 4 else "over 4 deg"}'
