# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The gallery shows what is there, where it is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from attention_fusion_ros.commands.gallery import main
from attention_fusion_ros.report import scene_gallery as gallery
from attention_fusion_ros.simulation.sensors.lidar import vlp_16
from attention_fusion_ros.simulation.truth.branches import Truth
from attention_fusion_ros.simulation.world.generate import generate_world
from attention_fusion_ros.simulation.world.world import Road, Terrain, Vehicle, World

ROAD = (Road(np.array([(-90.0, 0), (90, 0)]), 6.0),)


def test_tiles_lie_on_the_same_ground():
    van = Vehicle(20.0, 10.0, 0.0, 6.0, 3.0, 2.0, 'van', parked=False)
    plan = gallery.plan_tile(World('test', ROAD, Terrain(), vehicles=(van,)), 320)
    assert tuple(plan[160 - 80, 160 - 40]) == gallery.MOVING and tuple(plan[80, 150]) == gallery.PAVEMENT
    assert not plan[80, 220].any()
    sweep = gallery.sweep_tile(np.array([[20.0, 10.0, 1.0], [500.0, 0.0, 0.0]]), 320)
    assert np.argwhere(sweep.any(axis=2)).tolist() == [[80, 120]]
    image = np.zeros((240, 240, 3), np.uint8)
    image[80:82, 100:102] = 255  # 0.5 m a pixel: 20 m ahead and 10 m to the left of the middle
    shown = gallery.map_tile(image, 0.5, (0.5, 0.5), 320)
    row, column = np.argwhere(shown[..., 0] > 128).mean(axis=0)
    assert abs(row - 82) < 2.5 and abs(column - 122) < 2.5


def test_arrows_show_branches_and_direction():
    tile = np.zeros((320, 320, 3), np.uint8)
    gallery.draw_truth(tile, Truth(((0.0, 0.0), (1.5708, 1.5708)), (0.0, 0.0), ''))
    assert tuple(tile[70, 160]) == gallery.RED and tuple(tile[160, 70]) == gallery.WHITE


def test_a_scene_is_three_tiles_and_repeatable():
    world = replace(generate_world(2, 't'), vehicles=())
    a, b = (gallery.scene_picture(world, vlp_16(), 160) for _ in range(2))
    assert a.shape == (176, 480, 3) and (a == b).all() and all(t.any() for t in np.split(a, 3, axis=1))


def test_the_command_writes_a_sheet(tmp_path, capsys):
    out = tmp_path / 'sheet.png'
    assert main(['--classes', 'x', 'fork', '--per-class', '1', '--lidar', 'vlp_16', '--size', '120', '--out',
                 str(out)]) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape[1] == 724 and sheet.shape[0] > 134 and '2 simulated scenes' in capsys.readouterr().out
    assert main(['--classes', 'osm', '--per-class', '1', '--out', str(out)]) == 2
    assert 'extract' in capsys.readouterr().err
    assert main(['--classes', 'x', '--columns', '0', '--out', str(out)]) == 2
    assert main(['--classes', 'x', '--out', str(tmp_path / 'folder')]) == 2
    assert 'end it in .png' in capsys.readouterr().err


@pytest.mark.parametrize('width', [240, 400, 960, 2000])
def test_the_legend_names_every_colour_at_any_width(width):
    shown = gallery.legend(width, width // 3)
    assert shown.shape[1] == width
    for colour in (*gallery.WALLS.values(), *gallery.POSTS.values(), gallery.PARKED, gallery.RED):
        assert (shown == colour).all(axis=2).sum() >= 4
    if width >= 400:
        edge = shown[:, -3:].astype(int)
        assert np.abs(edge - gallery.BAR).max() < 60  # no word is cut off


def test_titles_fit_and_cover_nothing():
    tile = np.full((160, 160, 3), 200, np.uint8)
    row = gallery.row_of_tiles([tile, tile], ['short', 'a title that is longer than its tile is wide, by far'])
    assert row.shape == (176, 320, 3) and (row[16:, 1:160] == 200).all()
    assert row[:16, 160:].any() and not (row[:16, -3:] > 60).any()


def test_real_sweeps_stand_below_the_simulated_ones(tmp_path, capsys, shared_folder):
    out = tmp_path / 'sheet.png'
    assert main(['--classes', 'x', '--per-class', '1', '--lidar', 'vlp_16', '--size', '120', '--columns', '1', '--out',
                 str(out), '--real', str(shared_folder / 'data/karlsruhe_street')]) == 0
    assert '1 simulated scenes, 2 real sweeps' in capsys.readouterr().out
    assert cv2.imread(str(out)).shape[0] > 3 * 134
