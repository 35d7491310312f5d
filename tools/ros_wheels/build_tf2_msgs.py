#!/usr/bin/env python3
# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Build tf2_msgs into a virtual environment whose ROS 2 comes from wheels.

The wheels on the package index have rclpy and the common messages, and the generators that make message packages,
but not tf2_msgs; without it nothing can listen to /tf. This script runs the generators on its one message and
compiles the result (a few seconds, needs gcc and g++). A sourced ROS 2 has tf2_msgs: there is nothing to do then.

    .venv/bin/python tools/ros_wheels/build_tf2_msgs.py
"""
from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PACKAGE = 'tf2_msgs'
MESSAGE = 'TFMessage'
DEFINITION = 'geometry_msgs/TransformStamped[] transforms\n'
DEPENDENCIES = ('geometry_msgs', 'std_msgs', 'builtin_interfaces')
TYPE_SUPPORTS = ('rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')
PREFIX = Path(sys.prefix)


def arguments(work: Path, generator: str, **extra) -> str:
    """The JSON file that a rosidl generator reads; it will write to work/GENERATOR/tf2_msgs."""
    share = PREFIX / 'share'
    idl = [f'{package}:{path}' for package in DEPENDENCIES for path in sorted((share / package).glob('**/*.idl'))]
    path = work / f'{generator}.json'
    path.write_text(json.dumps({
        'package_name': PACKAGE, 'output_dir': str(work / generator / PACKAGE),
        'template_dir': str(share / generator / 'resource'), 'idl_tuples': [f'{work}:msg/{MESSAGE}.idl'],
        'ros_interface_dependencies': idl, 'target_dependencies': [], **extra}))
    return str(path)


def generate(work: Path) -> None:
    """Message definition -> C, C++ and Python sources, one folder a generator."""
    from rosidl_adapter.msg import convert_msg_to_idl
    from rosidl_cli.command.helpers import generate_visibility_control_file
    from rosidl_generator_c import generate_c
    from rosidl_generator_py import generate_py
    from rosidl_generator_type_description import generate_type_hash
    from rosidl_typesupport_c import generate_c as generate_typesupport_c
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    from rosidl_typesupport_introspection_c import generate_c as generate_introspection_c

    (work / 'msg').mkdir()
    definition = work / 'msg' / f'{MESSAGE}.msg'
    definition.write_text(DEFINITION)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports every file it reads and writes
        convert_msg_to_idl(work, PACKAGE, Path('msg') / f'{MESSAGE}.msg', work / 'msg')
    generate_type_hash(arguments(work, 'rosidl_generator_type_description',
                                 include_paths=[f'{p}:{PREFIX}/share/{p}' for p in DEPENDENCIES]))
    description = work / 'rosidl_generator_type_description' / PACKAGE / 'msg' / f'{MESSAGE}.json'
    generate_c(arguments(work, 'rosidl_generator_c', ros_interface_files=[str(definition)],
                         type_description_tuples=[f'msg/{MESSAGE}.idl:{description}']))
    generate_typesupport_fastrtps_c(arguments(work, 'rosidl_typesupport_fastrtps_c'))
    generate_introspection_c(arguments(work, 'rosidl_typesupport_introspection_c'))
    generate_typesupport_c(arguments(work, 'rosidl_typesupport_c'), list(TYPE_SUPPORTS))
    generate_py(arguments(work, 'rosidl_generator_py'), ['rosidl_typesupport_c'])
    for generator in ('rosidl_generator_c', *TYPE_SUPPORTS):
        header = f'{generator}__visibility_control.h'
        template = PREFIX / 'share' / generator / 'resource' / f'{header}.in'
        if template.exists():
            generate_visibility_control_file(package_name=PACKAGE, template_path=template,
                                             output_path=work / generator / PACKAGE / 'msg' / header)


def compile_all(work: Path) -> tuple[list[Path], Path]:
    """Sources -> the shared libraries by the names that the type support loads, and the Python extension."""
    import numpy
    folders = [work / g for g in ('rosidl_generator_c', 'rosidl_typesupport_c', *TYPE_SUPPORTS)]
    folders += [PREFIX / 'include', *(d for d in sorted((PREFIX / 'include').iterdir()) if d.is_dir())]
    folders += [Path(sysconfig.get_paths()['include']), Path(numpy.get_include())]
    includes = [f'-I{d}' for d in folders]

    def library(target: Path, sources: list[Path], libraries: list[str]) -> Path:
        objects = []
        for source in sources:
            objects.append(str(source) + '.o')
            compiler = ['gcc'] if source.suffix == '.c' else ['g++', '-std=c++17']
            subprocess.run([*compiler, '-O2', '-fPIC', f'-DROS_PACKAGE_NAME="{PACKAGE}"', *includes, '-c', str(source),
                            '-o', objects[-1]], check=True)
        subprocess.run(['g++', '-shared', '-o', str(target), *objects, f'-L{work}', f'-L{PREFIX / "lib"}',
                        f'-Wl,-rpath,{PREFIX / "lib"}', *[f'-l{name}' for name in libraries]], check=True)
        return target

    def sources(generator: str) -> list[Path]:
        return sorted(p for p in (work / generator).rglob('*') if p.suffix in ('.c', '.cpp'))

    built = []
    for generator in ('rosidl_generator_c', *TYPE_SUPPORTS, 'rosidl_typesupport_c'):
        needed = [f'{p}__{generator}' for p in DEPENDENCIES] + ['rosidl_runtime_c', 'rosidl_typesupport_c', 'rcutils']
        if generator != 'rosidl_generator_c':
            needed.append(f'{PACKAGE}__rosidl_generator_c')
        if generator == 'rosidl_typesupport_fastrtps_c':
            needed += ['rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_fastrtps_cpp', 'fastcdr']
        if generator == 'rosidl_typesupport_introspection_c':
            needed.append('rosidl_typesupport_introspection_c')
        built.append(library(work / f'lib{PACKAGE}__{generator}.so', sources(generator), needed))
    extension = library(work / f'{PACKAGE}_s__rosidl_typesupport_c.so', sources('rosidl_generator_py'),
                        [f'{PACKAGE}__rosidl_generator_c', f'{PACKAGE}__rosidl_typesupport_c',
                         'geometry_msgs__rosidl_generator_py', 'rosidl_runtime_c'])
    return built, extension


def install(work: Path, libraries: list[Path], extension: Path) -> Path:
    """Copy libraries and Python files where the wheels have theirs."""
    site = Path(sysconfig.get_paths()['purelib']) / PACKAGE
    shutil.rmtree(site, ignore_errors=True)
    python = work / 'rosidl_generator_py' / PACKAGE
    for path in python.rglob('*.py'):
        target = site / path.relative_to(python)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (site / '__init__.py').touch()
    shutil.copy(extension, site)
    for path in libraries:
        shutil.copy(path, PREFIX / 'lib')
    return site


def main() -> int:
    """Build and install; returns the exit status."""
    if importlib.util.find_spec(PACKAGE) is not None and '--force' not in sys.argv:
        print(f'{PACKAGE} is there already')
        return 0
    if sys.prefix == sys.base_prefix:
        print(f'{PACKAGE} is built into virtual environments only; a ROS 2 installation has its own', file=sys.stderr)
        return 1
    missing = [tool for tool in ('gcc', 'g++') if shutil.which(tool) is None]
    if missing:
        print(f'{PACKAGE} needs {" and ".join(missing)} to be built; without it the node cannot listen to /tf '
              '(use_tf: false with T_base_sensor works)', file=sys.stderr)
        return 1
    os.environ['AMENT_PREFIX_PATH'] = str(PREFIX)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        generate(work)
        site = install(work, *compile_all(work))
    print(f'{PACKAGE} built into {site}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
