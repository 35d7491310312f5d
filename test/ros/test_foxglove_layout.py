# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The layout for Foxglove and Lichtblick: panels and settings that those know, of topics and fields that there are.

Names of panels and settings are those of Lichtblick (packages/suite-base/src/panels) and of Foxglove Studio 1, from
which it comes: ThreeDeeRender/{IRenderer,settings}.ts and its renderables, Plot/utils/config.ts, diagnostics/util.ts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from attention_fusion_ros.config import from_flat
from attention_fusion_ros.ros.map_source.inputs import MAP_INPUTS
from attention_fusion_ros.ros.map_source.outputs import MAP_OUTPUTS
from attention_fusion_ros.ros.messages.standins import STORE
from attention_fusion_ros.ros.outputs import DIAGNOSTICS, OUTPUTS
from attention_fusion_ros.ros.result_sink import topic_of

LAYOUT = json.loads((Path(__file__).parents[2] / 'config/attention_fusion.foxglove.json').read_text())
TYPES = {'/attention_fusion/path': 'nav_msgs/msg/Path',
         **{topic_of(spec): spec.type.replace('/', '/msg/') for spec in (*OUTPUTS, DIAGNOSTICS)},
         **{f'/map_source/{spec.name}': spec.type.replace('/', '/msg/') for spec in MAP_OUTPUTS}}
COMMON = {'foxglovePanelTitle'}
SCENE = {'cameraState', 'followTf', 'followMode', 'scene', 'publish', 'transforms', 'topics', 'layers', 'imageMode'}
PANELS = {
    '3D': SCENE, 'Image': SCENE,
    'Plot': {'paths', 'minXValue', 'maxXValue', 'minYValue', 'maxYValue', 'showLegend', 'legendDisplay',
             'showPlotValuesInLegend', 'showXAxisLabels', 'showYAxisLabels', 'isSynced', 'xAxisVal', 'xAxisPath',
             'followingViewWidth', 'sidebarDimension'},
    'DiagnosticSummary': {'topicToRender', 'minLevel', 'pinnedIds', 'hardwareIdFilter', 'sortByLevel'}}
BASE = {'visible', 'frameLocked'}
POINTS = BASE | {'pointSize', 'pointShape', 'decayTime', 'colorMode', 'flatColor', 'colorField', 'gradient', 'colorMap',
                 'explicitAlpha', 'minValue', 'maxValue'}
TOPICS = {'sensor_msgs/msg/PointCloud2': POINTS, 'sensor_msgs/msg/LaserScan': POINTS,
          'nav_msgs/msg/OccupancyGrid': BASE | {'minColor', 'maxColor', 'unknownColor', 'invalidColor', 'colorMode',
                                                'alpha'},
          'visualization_msgs/msg/MarkerArray': BASE | {'color', 'showOutlines', 'selectedIdVariable', 'namespaces'},
          'geometry_msgs/msg/PoseArray': BASE | {'type', 'axisScale', 'arrowScale', 'lineWidth', 'gradient'},
          'nav_msgs/msg/Path': BASE | {'type', 'axisScale', 'arrowScale', 'lineWidth', 'gradient'},
          'geometry_msgs/msg/PoseWithCovarianceStamped': BASE | {'type', 'axisScale', 'arrowScale', 'color',
                                                                 'showCovariance', 'covarianceColor'}}
CAMERA = {'distance', 'perspective', 'phi', 'target', 'targetOffset', 'targetOrientation', 'thetaOffset', 'fovy',
          'near', 'far'}
PATH = re.compile(r'(?P<topic>(/\w+)+)(?P<steps>(\.\w+(\[[\d:]*\])?(\{[^}]*\})?)+)')
STEP = re.compile(r'\.(\w+)(\[[\d:]*\])?(?:\{(\w+)==[^}]*\})?')


def panels(kind: str):
    return [config for name, config in LAYOUT['configById'].items() if name.startswith(f'{kind}!')]


def placed(node) -> list[str]:
    """The panels of a part of the layout."""
    if isinstance(node, str):
        return [node]
    assert set(node) == {'first', 'second', 'direction', 'splitPercentage'}
    assert node['direction'] in ('row', 'column') and 10 <= node['splitPercentage'] <= 90
    return placed(node['first']) + placed(node['second'])


def test_every_panel_has_a_place_and_settings_that_viewers_know():
    assert set(LAYOUT) == {'configById', 'globalVariables', 'userNodes', 'playbackConfig', 'layout'}
    assert sorted(placed(LAYOUT['layout'])) == sorted(LAYOUT['configById'])
    for name, config in LAYOUT['configById'].items():
        kind, _, number = name.partition('!')
        assert number and set(config) <= PANELS[kind] | COMMON, name
    assert {name.partition('!')[0] for name in LAYOUT['configById']} == set(PANELS)


def test_the_scene_shows_outputs_by_settings_of_their_type():
    scene, = panels('3D')
    assert scene['followTf'] == from_flat({}).frames.base and set(scene['cameraState']) == CAMERA
    shown = scene['topics']
    for topic, settings in shown.items():
        assert set(settings) <= TOPICS[TYPES[topic]], topic
        for colour in (*settings.get('gradient', ()), *(v for k, v in settings.items() if k.lower().endswith('color'))):
            assert re.fullmatch('#[0-9a-f]{8}', colour), (topic, colour)
        if settings.get('colorMode') == 'gradient':
            assert settings['minValue'] < settings['maxValue']  # equal colours mean equal values, in every sweep
    visible = {topic.removeprefix('/attention_fusion/') for topic, s in shown.items() if s['visible']}
    assert visible == {'attention_points', 'map_points', 'heatmap/spatial', 'distribution', 'markers', 'path',
                       '/map_source/roads', '/map_source/route', '/map_source/position'}
    goal = next(spec.default_topic for spec in MAP_INPUTS if spec.name == 'goal_pose')
    assert scene['publish']['type'] == 'pose' and scene['publish']['poseTopic'] == f'/{goal}'
    assert '/attention_fusion/heatmap/gradcam' not in shown  # it would cost a second run of the network
    assert all(layer['layerId'] == 'foxglove.Grid' and layer['instanceId'] == name
               for name, layer in scene['layers'].items())


def test_the_image_panel_shows_the_picture():
    picture, = panels('Image')
    assert TYPES[picture['imageMode']['imageTopic']] == 'sensor_msgs/msg/Image'


def test_diagnostics_are_shown():
    status, = panels('DiagnosticSummary')
    assert TYPES[status['topicToRender']] == 'diagnostic_msgs/msg/DiagnosticArray'


@pytest.mark.parametrize('value', [path['value'] for plot in panels('Plot') for path in plot['paths']])
def test_every_plotted_path_is_a_number_of_a_message(value):
    whole = PATH.fullmatch(value)
    assert whole, value
    kind = TYPES[whole['topic']]
    for name, index, filtered in STEP.findall(whole['steps']):
        fields = dict(STORE.fielddefs[kind][1])
        node, of = fields[name]
        if node.name in ('ARRAY', 'SEQUENCE'):
            assert index, f'{name} is a list'
            node, of = of[0]
        else:
            assert not index
        kind = of if node.name == 'NAME' else of[0]
        assert not filtered or filtered in dict(STORE.fielddefs[kind][1])
    assert kind.startswith(('float', 'int', 'uint')), kind


def test_probability_and_latency_are_plotted():
    topics = {PATH.fullmatch(path['value'])['topic'] for plot in panels('Plot') for path in plot['paths']}
    assert topics >= {'/attention_fusion/markers', '/attention_fusion/debug/processing_time/total_ms'}
