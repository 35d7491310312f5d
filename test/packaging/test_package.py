# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The package as others get it: the list of commands, the import rules, the wheel, and a colcon workspace."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import attention_fusion_ros
from attention_fusion_ros.__main__ import COMMANDS, module_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'attention_fusion_ros'
SOURCES = ('attention_fusion_ros', 'config', 'launch', 'resource', 'test', 'setup.py', 'setup.cfg', 'package.xml',
           'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'requirements.txt')


def run(*command, cwd=ROOT, timeout=240, **environment):
    """Run a program; its output, which is shown when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    assert done.returncode == 0, f'{str(command)[:200]} ended with {done.returncode}:\n{done.stdout[-6000:]}'
    return done.stdout


def dispatch(*arguments):
    return subprocess.run([sys.executable, '-m', 'attention_fusion_ros', *arguments], cwd=ROOT, text=True,
                          capture_output=True, timeout=120)


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """A copy of the sources in a workspace of its own, so that no build leaves anything in the repository."""
    target = tmp_path_factory.mktemp('ws') / 'src' / 'attention_fusion_ros'
    target.mkdir(parents=True)
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    return target


def expected_executables():
    return set(COMMANDS)


def data_files(folder, *suffixes):
    return {path.name for path in (ROOT / folder).iterdir() if path.name.endswith(suffixes)}


def test_without_a_command_all_are_listed():
    done = dispatch()
    assert done.returncode == 2
    for name, summary in COMMANDS.items():
        assert re.search(rf'^  {name} +{re.escape(summary)}$', done.stdout, re.MULTILINE)
    helped = dispatch('--help')
    assert helped.returncode == 0 and helped.stdout == done.stdout


def test_an_unknown_command_lists_the_known_or_the_nearest():
    near, far = dispatch('reply'), dispatch('zzz')
    assert near.returncode == far.returncode == 2 and not near.stdout and not far.stdout
    assert "did you mean 'replay'?" in near.stderr
    assert all(name in far.stderr for name in COMMANDS)


def test_listing_the_commands_loads_none_of_them():
    loaded = run(sys.executable, '-X', 'importtime', '-m', 'attention_fusion_ros', '--help')
    assert 'fusion_node' in loaded
    assert not re.search(r'\| +(torch|cv2|rclpy|numpy)$', loaded, re.MULTILINE)


@pytest.mark.parametrize('name', sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name):
    done = dispatch(name, '--help')
    assert done.returncode == 0, done.stderr
    assert 'example' in done.stdout.lower() and name in done.stdout, done.stdout


def test_the_same_version_everywhere():
    version = attention_fusion_ros.__version__
    assert ElementTree.parse(ROOT / 'package.xml').findtext('version') == version
    assert re.search(r"version='([^']+)'", (ROOT / 'setup.py').read_text()).group(1) == version


def test_package_xml_declares_what_the_ros_part_imports():
    declared = {item.text for item in ElementTree.parse(ROOT / 'package.xml').iter('exec_depend')}
    imported = set()
    for path in [*(PACKAGE / 'ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split('.')[0])
    ours = {'attention_fusion_ros'} | set(sys.stdlib_module_names)
    elsewhere = {'numpy': 'python3-numpy', 'cv2': 'python3-opencv', 'yaml': 'python3-yaml', 'tqdm': 'python3-tqdm',
                 'rosbags': 'python3-rosbags-pip'}
    from_pip = {'torch', 'safetensors'}
    wanted = {elsewhere.get(name, name) for name in imported - ours - from_pip}
    launching = [*(ROOT / 'launch').glob('*.py'), PACKAGE / 'ros' / 'launching.py']
    launched = '\n'.join(path.read_text() for path in launching)
    wanted |= set(re.findall(r"package='(\w+)'", launched)) | ({'rosbag2'} if "'ros2', 'bag'" in launched else set())
    assert {'rviz2', 'rosbag2'} <= wanted
    assert {'rclpy', 'sensor_msgs'} <= wanted
    assert wanted <= declared


def test_import_rules_hold():
    pytest.importorskip('importlinter', reason='pip install import-linter')
    report = run(sys.executable, '-c', 'from importlinter.cli import lint_imports_command as c; c()', '--no-cache')
    assert '0 broken' in report


@pytest.mark.slow
def test_import_rules_are_able_to_fail(copy, tmp_path):
    pytest.importorskip('importlinter', reason='pip install import-linter')
    spoiled = tmp_path / 'attention_fusion_ros'
    shutil.copytree(copy / 'attention_fusion_ros', spoiled)
    shutil.copy(copy / 'pyproject.toml', tmp_path)
    (spoiled / 'geometry.py').write_text('import rclpy\nfrom attention_fusion_ros import pipeline\n')
    done = subprocess.run([sys.executable, '-c', 'from importlinter.cli import lint_imports_command as c; c()',
                           '--no-cache'], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, 'PYTHONPATH': str(tmp_path)}, timeout=120)
    assert done.returncode == 1
    assert 'geometry -> rclpy' in done.stdout and 'geometry -> attention_fusion_ros.pipeline' in done.stdout


@pytest.mark.slow
def test_the_core_imports_without_ros(tmp_path):
    """With rclpy and every message package out of reach, each module outside of ros/ still imports.

    All but benchmarking.live and .start: they measure the node on the graph, `benchmark` imports them for that.
    """
    modules = sorted('.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
                     for path in PACKAGE.rglob('*.py') if 'ros' not in path.relative_to(PACKAGE).parts)
    for name in ('live', 'start'):
        modules.remove(f'attention_fusion_ros.benchmarking.{name}')
    code = ('import importlib, sys\n'
            'class Wall:\n'
            '    def find_spec(self, name, *_):\n'
            '        top = name.split(".")[0]\n'
            '        if top in ("rclpy", "cv_bridge", "tf2_ros") or top.endswith("_msgs"):\n'
            '            raise ImportError("no ROS here: " + name)\n'
            'sys.meta_path.insert(0, Wall())\n'
            f'for name in {modules!r}:\n'
            '    name.endswith("__main__") or importlib.import_module(name)\n'
            'print(len(sys.modules))\n')
    assert len(modules) > 40
    run(sys.executable, '-c', code)


@pytest.mark.slow
@pytest.mark.parametrize('minor', [10, 12, 13])
def test_byte_compiles_under_other_pythons(minor, tmp_path):
    candidates = [shutil.which(f'python3.{minor}') or '',
                  *map(str, Path.home().glob(f'.pyenv/versions/3.{minor}.*/bin/python'))]
    python = next((path for path in candidates if path and subprocess.run(
        [path, '-c', ''], capture_output=True).returncode == 0), None)
    if python is None:
        pytest.skip(f'there is no python3.{minor} on this machine')
    run(python, '-m', 'compileall', '-q', '-f', PACKAGE, ROOT / 'launch', ROOT / 'tools', ROOT / 'test',
        PYTHONPYCACHEPREFIX=str(tmp_path))
    assert len(list(tmp_path.rglob('*.pyc'))) > 40


@pytest.mark.slow
def test_the_wheel_carries_everything(copy, tmp_path):
    run(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', tmp_path,
        copy)
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(next(n for n in names if n.endswith('entry_points.txt'))).decode())
        metadata = archive.read(next(n for n in names if n.endswith('METADATA'))).decode()
    assert set(entry_points['console_scripts']) == expected_executables()
    for name in COMMANDS:
        module = module_of(name)
        assert entry_points['console_scripts'][name] == f'{module}:main'
        assert module.replace('.', '/') + '.py' in names
    inside = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob('*')
              if path.is_file() and '__pycache__' not in path.parts}
    assert inside <= names
    shared = {name.split('.data/data/share/attention_fusion_ros/')[-1] for name in names if '.data/data/' in name}
    for folder, suffixes in (('launch', ('.launch.py',)), ('config', ('.yaml', '.rviz', '.json'))):
        assert {f'{folder}/{name}' for name in data_files(folder, *suffixes)} <= shared
    assert 'package.xml' in shared
    for line in (ROOT / 'requirements.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            assert f'Requires-Dist: {re.split("[<>=]", line)[0]}' in metadata


def test_weights_are_shipped():
    assert list((PACKAGE / 'weights').glob('*.safetensors')), 'no checkpoint in attention_fusion_ros/weights'
    assert list((PACKAGE / 'weights').glob('*.md')), 'no model card in attention_fusion_ros/weights'


@pytest.fixture(scope='module')
def workspace(copy):
    """The copy, built by colcon."""
    colcon = shutil.which('colcon', path=os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))
    if colcon is None:
        pytest.skip('colcon is not installed (pip install colcon-common-extensions colcon-ros)')
    top = copy.parents[1]
    # By this interpreter, which becomes that of the executables.
    command = [sys.executable, colcon]
    run(*command, 'build', '--event-handlers', 'console_direct+', cwd=top)
    return top, command


@pytest.mark.slow
def test_colcon_puts_executables_where_ros2_run_looks(workspace):
    top, _ = workspace
    prefix = top / 'install' / 'attention_fusion_ros'
    lib = prefix / 'lib' / 'attention_fusion_ros'
    assert {path.name for path in lib.iterdir()} == expected_executables()
    assert all(os.access(path, os.X_OK) for path in lib.iterdir())
    assert (prefix / 'share/ament_index/resource_index/packages/attention_fusion_ros').exists()
    share = prefix / 'share/attention_fusion_ros'
    assert {path.name for path in (share / 'launch').iterdir()} == data_files('launch', '.launch.py')
    config = share / 'config'
    assert {path.name for path in config.iterdir() if path.is_file()} == data_files('config', '.yaml', '.rviz', '.json')
    assert {path.name for path in (config / 'sros2').iterdir()} == data_files('config/sros2', '.xml')
    shell = f'source {top}/install/local_setup.bash && {lib}/replay --help'
    assert 'example' in run('bash', '-c', shell, cwd=top).lower()


@pytest.mark.slow
def test_colcon_test_runs_the_tests_of_the_package(workspace):
    top, command = workspace
    run(*command, 'test', '--event-handlers', 'console_direct+', '--pytest-args', 'test/decode/test_cloud.py',
        '-p', 'no:cacheprovider', cwd=top)
    summary = run(*command, 'test-result', '--all', cwd=top)
    expected = run(sys.executable, '-m', 'pytest', '--collect-only', '-q', '-p', 'no:cacheprovider',
                   'test/decode/test_cloud.py').count('test_cloud.py::')
    assert f'Summary: {expected} tests, 0 errors, 0 failures' in summary, summary
