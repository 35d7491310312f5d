#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Decode an exported network with numpy and ONNX Runtime alone; docs/export.md explains every line.

    python examples/decode_export.py default.onnx grids.npz

grids.npz holds `lidar` (C, H, W) and `map` (3, H, W), float32; a map of zeros means that there is none.
"""

import json
import sys

import numpy as np
import onnxruntime


def wrap(angle):
    """Angle in rad -> the same in (-pi, pi]."""
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)


def decode(session, lidar, map_image, nms_angle=np.pi / 9, min_probability=0.4, min_direction=0.5):
    """-> branches as (bearing, heading, probability, bearing_std), most probable first, and the one to take or None."""
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    names = [output.name for output in session.get_outputs()]
    given = {'lidar': lidar[None], 'map': map_image[None],
             'prior': np.zeros((1, 13), np.float32)}  # nothing is known from earlier sweeps; not every file asks for it
    asked = [wanted.name for wanted in session.get_inputs()]
    output = dict(zip(names, session.run(names, {name: given[name] for name in asked})))
    head = dict(zip(about['head_channels'], output['head'][0].astype(np.float64)))  # name -> (K,)
    bins = len(head['presence'])
    step = 2 * np.pi / bins
    centres = -np.pi + (np.arange(bins) + 0.5) * step
    bearings = centres + np.clip(head['offset'], -1.5, 1.5) * step
    headings = np.arctan2(head['heading_sin'], head['heading_cos']) + centres
    with_map = map_image[about['map_channels'].index('road')].max() > 0.2
    scale, shift = about['calibration']['fused' if with_map else 'lidar_only']
    probability = 1 / (1 + np.exp(-np.clip(scale * head['presence'] + shift, -30, 30)))
    std = np.clip(np.exp(head['bearing_log_std']), np.radians(0.3), np.radians(40))

    score = head['presence']
    peaks = []  # circular non-maximum suppression, best first
    candidates = np.flatnonzero((score >= np.roll(score, 1)) & (score > np.roll(score, -1)))
    for i in sorted(candidates, key=lambda i: -score[i]):
        if all(abs(wrap(bearings[i] - bearings[j])) >= nms_angle for j in peaks):
            peaks.append(i)
    peaks = [i for i in peaks if probability[i] >= min_probability]
    branches = [(wrap(bearings[i]), wrap(headings[i]), probability[i], std[i]) for i in peaks]
    if not peaks:
        return branches, None
    logits = np.append(head['direction'], output['no_direction'][0])
    mass = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    distance = np.abs(wrap(bearings[:, None] - bearings[peaks]))
    own = distance.min(axis=1) <= max(nms_angle, np.radians(15))  # the rest is of a way that is no branch
    share = np.bincount(distance.argmin(axis=1), weights=mass[:-1] * own, minlength=len(peaks))  # of the mass, each
    best, elsewhere = int(share.argmax()), mass[:-1][~own].sum()
    told = share[best] >= min_direction and elsewhere <= max(share[best], mass[-1])
    return branches, branches[best] if told and branches[best][2] >= min_direction else None


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model, grids = onnxruntime.InferenceSession(sys.argv[1]), np.load(sys.argv[2], allow_pickle=False)
    found, direction = decode(model, grids['lidar'], grids['map'])
    for bearing, heading, p, sigma in found:
        where, spread, way = np.degrees((bearing, sigma, heading))
        print(f'bearing {where:6.1f} +- {spread:.1f} deg, heading {way:6.1f} deg, probability {p:.2f}')
    print('direction:', 'none' if direction is None else f'{np.degrees(direction[0]):.1f} deg')
