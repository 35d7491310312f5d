# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from attention_fusion_ros.utils.digest import PACKAGE, digest, source_files


def test_source_files_are_chosen_by_module_and_folder():
    names = [p.relative_to(PACKAGE).as_posix() for p in source_files(('bev', 'geometry.py'), ('__init__.py',
                                                                                              'bev/grid.py'))]
    assert 'geometry.py' in names and 'bev/lidar.py' in names
    assert 'bev/grid.py' not in names and 'bev/__init__.py' not in names and names == sorted(names)
    assert len(source_files()) > 100
    assert not [p for p in source_files(exclude=('ros',)) if 'ros' in p.relative_to(PACKAGE).parts[:-1]]
    with pytest.raises(ValueError, match='gone.py'):
        source_files(('bev', 'gone.py'))
    with pytest.raises(ValueError, match=r"no source 'gone.py' to leave out in bev"):
        source_files(('bev',), ('gone.py',))


def test_the_digest_changes_with_everything_it_is_made_of(tmp_path):
    file = tmp_path / 'weights'
    file.write_bytes(b'1')
    first = digest([file], (20.0, 'osm'))
    assert len(first) == 10 and first == digest([file], (20.0, 'osm')) and len(digest(length=16)) == 16
    assert digest([file], (21.0, 'osm')) != first
    assert digest([], (20.0, 'osm')) != first
    file.write_bytes(b'2')
    assert digest([file], (20.0, 'osm')) != first
