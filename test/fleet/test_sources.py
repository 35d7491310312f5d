# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which recordings arguments name: files, folders, globs, lists, URLs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import fleet_kit

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.fleet.sources import find_sources, is_many
from attention_fusion_ros.stream.content import ContentIndex, content_digest, local_state


@pytest.fixture
def drives(tmp_path, monkeypatch) -> Path:
    """Two days of files, and folders with metadata.yaml, of which one is split in two parts."""
    monkeypatch.chdir(tmp_path)
    fleet_kit.write_recordings(tmp_path / 'day1', 'ab')
    fleet_kit.write_recordings(tmp_path / 'day2', 'c')
    for name in ('run_0.db3', 'run_1.db3', 'metadata.yaml', 'truth.json'):
        (tmp_path / 'day2' / 'run').mkdir(exist_ok=True)
        (tmp_path / 'day2' / 'run' / name).write_text(name)
    (tmp_path / 'day1' / 'notes.txt').touch()
    (tmp_path / 'day1' / '.work').mkdir()
    (tmp_path / 'day1' / '.work' / 'half.mcap').touch()
    return tmp_path


def places(*arguments: str) -> list[str]:
    return [source.location for source in find_sources(arguments)]


def test_paths_folders_and_globs(drives):
    assert places('day2/run', 'day1/b.mcap') == ['day2/run', 'day1/b.mcap']  # in their order
    assert places('day2/run/metadata.yaml', 'day2/run/') == ['day2/run']  # each once
    assert places('day1') == places('day1/*') == places('day1/**') == ['day1/a.mcap', 'day1/b.mcap']
    assert places('day2') == places('day2/**') == ['day2/c.mcap', 'day2/run']
    assert places('day?') == places('**') == places('*/*', 'day1') == [
        'day1/a.mcap', 'day1/b.mcap', 'day2/c.mcap', 'day2/run']
    assert [source.name for source in find_sources(['day?'])] == ['a', 'b', 'c', 'run']


def test_a_list_has_paths_globs_and_remarks(drives):
    (drives / 'list.txt').write_text('# Monday\nday1/a.mcap\n\n  day2/*  \n')
    assert places('@list.txt', 'day1/b.mcap') == ['day1/a.mcap', 'day2/c.mcap', 'day2/run', 'day1/b.mcap']


@pytest.mark.parametrize('argument, told', [
    ('nowhere', 'no recording at nowhere'), ('day1/x*', 'No recording matches day1/x*'),
    ('day1/*.txt', 'No recording matches'), ('@empty.txt', 'is empty'), ('@picture.txt', 'is no text'),
    ('@nested.txt', 'names another list')])
def test_what_names_none_is_refused(drives, argument, told):
    (drives / 'empty.txt').write_text('# nothing\n')
    (drives / 'picture.txt').write_bytes(b'\xff\xd8\xff\xe0')
    (drives / 'nested.txt').write_text('@empty.txt\n')
    with pytest.raises(InputError, match=told.replace('*', r'\*')) as error:
        find_sources([argument])
    assert error.value.reason == 'recording_missing' and error.value.remedy


def test_a_list_that_is_not_there_is_named(drives):
    with pytest.raises(OSError, match='gone.txt'):
        find_sources(['@gone.txt'])


def test_one_path_is_not_many(drives):
    (drives / 'odd[1].mcap').touch()
    assert not any(is_many([text]) for text in ('day1', 'day1/a.mcap', 'nowhere', 'odd[1].mcap'))
    assert all(is_many(found) for found in (['day1', 'day2'], ['day*'], ['@list.txt'], ['s3://bucket/day1/a.mcap']))


def test_urls_are_read_through_a_copy(drives):
    pytest.importorskip('fsspec')
    url = drives.as_uri()
    found = find_sources([f'{url}/day2/*', f'{url}/day1/a.mcap'])
    assert [source.name for source in found] == ['c', 'run', 'a']
    assert [source.location for source in found] == [f'{url}/day2/c.mcap', f'{url}/day2/run', f'{url}/day1/a.mcap']
    for source, place in zip(found, ('day2/c.mcap', 'day2/run', 'day1/a.mcap')):
        with source.local() as path:
            assert path != drives / place and path.name == Path(place).name
            assert content_digest(path) == content_digest(drives / place)
        assert not path.exists()
    before = found[1].state()
    assert before == find_sources([f'{url}/day2/run'])[0].state()
    (drives / 'day2/run/run_1.db3').write_text('longer than before')
    assert found[1].state() != before
    with pytest.raises(InputError, match='There is no recording at'):
        find_sources([f'{url}/day3'])


def test_a_url_that_needs_a_missing_package_says_which(drives, monkeypatch):
    pytest.importorskip('fsspec')
    with pytest.raises(ConfigurationError, match='nonsense://.*cannot be opened'):
        find_sources(['nonsense://bucket/a.mcap'])
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(ConfigurationError, match='pip install fsspec'):
        find_sources(['s3://bucket/a.mcap'])


def test_content_counts_wherever_it_lies_and_is_read_once(drives):
    run = drives / 'day2' / 'run'
    content, state = content_digest(run), local_state(run)
    assert content_digest(run.rename(drives / 'moved')) == content
    moved = drives / 'moved'
    index = ContentIndex(drives / 'index')
    assert index.known(state) is None and index.known(None) is None
    index.remember(state, content)
    assert index.known(state) == content
    assert local_state(moved) != state  # another place must be read once
    (moved / 'fleet.json').write_text('{}')  # written by the work itself
    assert content_digest(moved) == content
    (moved / 'replay.yaml').write_text('{}')  # changes the answers
    assert content_digest(moved) != content
    a = drives / 'day1' / 'a.mcap'
    single = content_digest(a)
    (drives / 'day1' / 'truth.json').touch()
    assert content_digest(a) != single
