# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The words of a report, for readers who meet them for the first time."""

from __future__ import annotations

from collections.abc import Collection

from attention_fusion_ros.contracts import READING, SELECTION

CHANNEL = ('Channel attention is a weight from 0 to 1 for every feature, by which it is scaled where LiDAR and map are '
           'fused.')
STAGE = ('The spatial attention of a stage is a weight from 0 to 1 for every cell of the ground, by which its features '
         'are scaled.')
PLACES = ('Attention over places ("reading") scales no features: it is how much the place of each cell counts in the '
          'answer, as a share of the greatest. The heatmap shows it.')
CHOICE = ('Hard attention ("selection") chooses the cells that are read at all; its heat is how much each of them '
          'contributes to the answer, as a share of the greatest.')

WORDS = {
    'sweep': 'One full turn of the LiDAR: the points measured in about a tenth of a second.',
    'lookahead ring': 'A circle around the vehicle, 20 m in radius with the shipped network. What is estimated is '
                      'where roads cross it.',
    'branch': "A place where a road that is connected to the vehicle's own road crosses the ring.",
    'direction': 'The branch to take: along the route where the map image shows one, else straight on. Without a route '
                 'and a road that clearly goes on there is none.',
    'bearing': 'Where a branch lies, seen from the vehicle: 0 degrees is straight ahead, 90 left, -90 right, 180 '
               'behind.',
    'heading': 'Which way the road points at a branch, outwards, in the same degrees. On a straight road bearing and '
               'heading agree; in a bend they differ.',
    'probability': 'How sure the network is, 0 to 1, calibrated: of branches with 0.8, about 80 in 100 exist.',
    'fused, lidar_only': 'Whether LiDAR and map image were used together, or the LiDAR alone; the reason is given.',
    'dropped': 'The sweep gave no result; the reason and the remedy are given.',
    'attention': '',  # see `attention`
    'map share': 'The part of the weighted activation that comes from the map image; the rest comes from the LiDAR.',
    'Grad-CAM': 'How much each cell contributed to the direction (Selvaraju et al. 2017). The answer is a logit, the '
                'number before it becomes a probability; the unit is logits per cell.',
    'stage': 'One of the three steps in which the network looks at the ground, from fine to coarse.',
    'latency': 'Time from the undecoded message to the result.',
    '95th percentile': 'The value below which 95 of 100 lie.',
}


def attention(spatial: Collection[str] | None) -> str:
    """What attention is. spatial: names in `Attention.spatial` of the network at hand; None: it is not known."""
    if spatial is None:
        return f'Which of these there are depends on the network. {CHANNEL} {STAGE} {PLACES} {CHOICE}'
    stages = [name for name in spatial if name not in (READING, SELECTION)]
    told = ((CHANNEL, True), (STAGE, stages), (PLACES, READING in spatial), (CHOICE, SELECTION in spatial))
    return ' '.join(text for text, holds in told if holds)


def glossary(spatial: Collection[str] | None = None) -> dict[str, str]:
    """{word: what it means}; spatial: see `attention`."""
    return {**WORDS, 'attention': attention(spatial)}
