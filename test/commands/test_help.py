# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`--help` of every command: at once, without ROS, and with examples that can be copied as they stand."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from attention_fusion_ros.__main__ import COMMANDS, module_of
from attention_fusion_ros.commands import cli
from attention_fusion_ros.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ('torch', 'matplotlib', 'scipy', 'onnxruntime', 'openvino', 'rosbags', 'rclpy', 'tensorboard')
NO_ROS = """
import sys
class Wall:
    def find_spec(self, name, *_):
        top = name.split('.')[0]
        if top == 'rclpy' or top.endswith('_msgs'):
            raise ImportError(f"No module named '{name}'")
sys.meta_path.insert(0, Wall())
from attention_fusion_ros.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
# Those that end within seconds, in this order: the first one makes the recording of the others.
QUICK = ('simulate --bag', 'replay out/drive --out out/replay', 'export --checkpoint untrained', 'gallery --out')


def examples(command: str) -> list[str]:
    """The command lines in the help of a command."""
    text = importlib.import_module(module_of(command)).options_parser().format_help()
    lines = text.split('examples:\n')[1].splitlines()
    assert lines and all(line.strip() for line in lines)
    return [line.strip() for line in lines]


EXAMPLES = [(command, line) for command in COMMANDS for line in examples(command)]


def without_ros(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, '-c', NO_ROS, *arguments], cwd=cwd, text=True, capture_output=True,
                          timeout=120, env={**os.environ, 'PYTHONPATH': str(ROOT)})


@pytest.mark.parametrize('command', COMMANDS)
def test_help_needs_no_ros_and_loads_nothing_heavy(command):
    done = subprocess.run([sys.executable, '-X', 'importtime', '-c', NO_ROS, command, '--help'], cwd=ROOT, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'examples:' in done.stdout
    loaded = set(re.findall(r'\| +([\w.]+)$', done.stderr, re.MULTILINE))
    assert 'argparse' in loaded and not loaded & set(HEAVY)


@pytest.mark.parametrize('command, line', EXAMPLES)
def test_examples_are_complete_command_lines(command, line):
    words = shlex.split(line)
    if words[0] == 'torchrun':
        words = words[words.index('-m') - 1:]
    assert words[1:4] == ['-m', 'attention_fusion_ros', command], line
    importlib.import_module(module_of(command)).options_parser().parse_args(cli.without_ros_arguments(words[4:]))
    assert '../shared' not in line and '~/' not in line  # a shell expands ~/ at the start of a word


@pytest.mark.slow
def test_examples_run_as_they_stand(tmp_path):
    lines = [next(line for _, line in EXAMPLES if f'attention_fusion_ros {start}' in line) for start in QUICK]
    for line in lines:
        words = [sys.executable, *shlex.split(line)[1:]]
        done = subprocess.run(words, cwd=tmp_path, text=True, capture_output=True, timeout=280,
                              env={**os.environ, 'PYTHONPATH': str(ROOT)})
        assert done.returncode == 0, f'{line}\n{done.stderr[-3000:]}'
    assert (tmp_path / 'out' / 'replay' / 'report.html').exists() and (tmp_path / 'out' / 'scenes.png').exists()


@pytest.mark.parametrize('arguments', [['fusion_node', '--activate'], ['simulate'], ['play', 'out/drive'],
                                       ['benchmark', '--untrained', '--node', '1']], ids=lambda a: a[0])
def test_commands_that_need_ros_say_so_in_one_line(arguments):
    done = without_ros(*arguments)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.count('\n') == 1 and 'needs ROS 2' in done.stderr, done.stderr


@pytest.mark.parametrize('texts', [['x'], ['=3'], ['x='], ['a=1', 'b']])
def test_a_text_that_is_no_assignment_is_named(texts):
    with pytest.raises(cli.ConfigurationError, match=f"'-s {texts[-1]}' is not NAME=VALUE"):
        cli.assignments(texts, '-s')


def test_assignments():
    assert cli.assignments(['a=1', ' b = x=y ', 'a=2'], '-s') == {'a': '2', 'b': 'x=y'}
    assert cli.assignments(['map.resolution:=0.5'], '-p', ':=') == {'map.resolution': '0.5'}
    assert cli.yaml_values({'a': '[1, 2]', 'b': 'true'}, '-s') == {'a': [1, 2], 'b': True}


def test_numbers_are_written_as_for_ros():
    """rcl_yaml_param_parser takes all of these for numbers; README prints the bound of tf_max_age as 1e+07."""
    texts = ['1e+07', '1e7', '1e-1', '-2E3', '.5e0', '1.e1', '1.5e-3']
    assert [cli.yaml_values({'x': text}, '-p')['x'] for text in texts] == [float(text) for text in texts]
    for text in ('e5', '1e', '1e5m', '0x1e5', "'1e5'", '1-e5'):
        assert not isinstance(cli.yaml_values({'x': text}, '-p')['x'], float), text
    options = argparse.Namespace(params=None, device='', overrides=['tf_max_age:=1e+07', 'odometry.max_age:=1e-1'])
    config = cli.node_config(options)
    assert (config.tf_max_age, config.odometry.max_age) == (1e7, 0.1)


def test_how_an_empty_text_is_given_is_said_and_works():
    with pytest.raises(cli.ConfigurationError) as error:
        cli.assignments(['frames.odom:='], '-p', ':=')
    typed = re.search('for an empty text, write (.*), with', str(error.value))[1]
    option, text = shlex.split(typed)
    options = argparse.Namespace(params=None, device='', overrides=[text])
    assert option == '-p' and cli.node_config(options).frames.odom == ''
    with pytest.raises(cli.ConfigurationError) as error:
        cli.assignments(['x='], '--compare')
    assert 'empty text' not in str(error.value)  # of a path there is none


FORBIDDEN = '/proc/x/y'
OWN, OTHER = 'ros__parameters: {threads: 2}', 'ros__parameters: {threads: 3}'


@pytest.mark.parametrize('text, threads', [
    ('threads: 2', 2), ('{}', 0),
    (f'attention_fusion:\n  {OWN}\nmap_source:\n  {OTHER}', 2), (f'/attention_fusion: {{{OWN}}}', 2),
    (f'/**: {{{OWN}}}', 2), (f'/*: {{{OWN}}}', 2), (f'/**: {{{OTHER}}}\nattention_fusion: {{{OWN}}}', 2),
    (f'car: {{attention_fusion: {{{OWN}}}}}', 2), (f'/car/attention_fusion: {{{OWN}}}\nother: {{{OTHER}}}', 2),
    ('attention_fusion: {ros__parameters: }', 0)])
def test_of_a_parameter_file_what_is_for_the_node_counts(tmp_path, text, threads):
    (tmp_path / 'parameters.yaml').write_text(text)
    assert cli.read_parameter_file(tmp_path / 'parameters.yaml').get('threads', 0) == threads


@pytest.mark.parametrize('text, names', [
    (f'map_source: {{{OTHER}}}', '/map_source'), (f'a: {{{OTHER}}}\nb: {{c: {{{OTHER}}}}}', '/a, /b/c'),
    (f'car/*: {{{OTHER}}}', '/car/*'),
    (f'a: {{attention_fusion: {{{OTHER}}}}}\nb/attention_fusion: {{{OTHER}}}', '/a/attention_fusion, '
     '/b/attention_fusion')])
def test_a_parameter_file_of_other_nodes_is_refused(tmp_path, text, names):
    (tmp_path / 'parameters.yaml').write_text(text)
    with pytest.raises(cli.ConfigurationError) as error:
        cli.read_parameter_file(tmp_path / 'parameters.yaml')
    assert f'has parameters for {names}, but none for /attention_fusion. Remedy: ' in str(error.value)


def test_draw_map_reads_what_is_for_map_source(tmp_path):
    (tmp_path / 'parameters.yaml').write_text(f'map_source: {{{OWN}}}\nattention_fusion: {{{OTHER}}}')
    assert cli.read_parameter_file(tmp_path / 'parameters.yaml', cli.MAP_NODE) == {'threads': 2}


@pytest.mark.skipif(not Path('/proc/self').exists(), reason='nothing can be made in /proc')
@pytest.mark.parametrize('command, name', [*((command, '') for command in (
    'replay', 'evaluate', 'draw_map', 'export', 'train', 'benchmark')), ('gallery', '/sheet.png')])
def test_an_output_folder_that_cannot_be_made_is_refused_before_the_work(command, name, capsys):
    module = importlib.import_module(f'attention_fusion_ros.commands.{command}')
    with pytest.raises(SystemExit) as stopped:
        module.main([*(['no recording'] if command in ('replay', 'draw_map') else []), '--out', FORBIDDEN + name])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and f"'{FORBIDDEN}' cannot be written to: nothing can be made in /proc" in error
    assert 'Remedy: give a folder' in error


def test_trying_an_output_folder_leaves_nothing(tmp_path):
    (tmp_path / 'there').mkdir()
    for name in ('new/one', 'there', 'there/new'):
        assert cli.output_folder(str(tmp_path / name)) == tmp_path / name
    assert list(tmp_path.rglob('*')) == [tmp_path / 'there']


def test_a_folder_that_cannot_be_written_is_named_in_one_line(tmp_path, capsys):
    (tmp_path / 'file').touch()

    def write() -> int:
        (tmp_path / 'file' / 'folder').mkdir()
        return 0

    def fail() -> int:
        raise ConnectionResetError(errno.ECONNRESET, 'reset')

    assert cli.run(write) == 2
    told = capsys.readouterr().err
    assert told.startswith('error: ') and told.count('\n') == 1 and str(tmp_path / 'file' / 'folder') in told
    with pytest.raises(ConnectionResetError):
        cli.run(fail)


@pytest.mark.parametrize('below', ['', 'deeper/still'])
def test_a_file_in_the_place_of_the_output_folder_is_refused_before_the_work(tmp_path, capsys, below):
    from attention_fusion_ros.commands import replay
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as stopped:
        replay.main([str(tmp_path / 'no recording'), '--out', str(tmp_path / 'file' / below)])
    assert stopped.value.code == 2 and f"'{tmp_path / 'file'}' is a file; give a folder" in capsys.readouterr().err
    assert cli.output_folder(str(tmp_path / 'new' / 'one')) == tmp_path / 'new' / 'one'
    assert not (tmp_path / 'new').exists()


def test_ros_arguments_are_told_from_those_of_the_command():
    assert cli.without_ros_arguments(['a', '--ros-args', '-r', 'x:=y']) == ['a']
    assert cli.without_ros_arguments(['--ros-args', '-p', 'x:=1', '--', 'a', '--b']) == ['a', '--b']


@pytest.mark.parametrize('number, words', [(errno.ENOSPC, 'make room'), (errno.EROFS, 'not read-only'),
                                           (errno.EMFILE, 'ulimit -n')])
def test_what_the_system_lacks_is_one_line_with_a_remedy(number, words, capsys):
    def body():
        raise OSError(number, os.strerror(number), *([] if number == errno.ENOSPC else ['out/file']))
    assert cli.run(body) == 2
    error = capsys.readouterr().err
    assert os.strerror(number) in error and words in error and 'Remedy' in error and error.count('\n') == 1


@pytest.mark.parametrize(('text', 'words'), [('hello', 'no names with values'), ('a: [1', 'cannot be read'),
                                             (None, 'cannot be read')])
def test_a_parameter_file_that_is_none_is_told_with_what_to_give(text, words, tmp_path):
    file = tmp_path / 'parameters.yaml'
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        cli.read_parameter_file(file)
    assert 'Remedy: give a ROS parameter file' in str(caught.value)
