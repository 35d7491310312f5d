# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""ament_python build: `colcon build` for ROS 2, `pip install .` without it."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'attention_fusion_ros'
COMMANDS = ('fusion_node', 'map_source', 'replay', 'draw_map', 'play', 'simulate', 'train', 'evaluate', 'benchmark',
            'export', 'gallery')
HERE = Path(__file__).parent


def files(folder: str, *patterns: str) -> list:
    """Relative paths of the files in a folder, for data_files."""
    return sorted(str(path.relative_to(HERE)) for pattern in patterns for path in (HERE / folder).glob(pattern))


def requirements() -> list:
    """The lines of requirements.txt."""
    lines = (HERE / 'requirements.txt').read_text().splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith('#')]


setup(
    name=NAME,
    version='0.1.0',
    description='Road directions from LiDAR and a coarse map image, with channel and spatial attention.',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    url='https://github.com/attention-fusion-ros/attention_fusion_ros',
    license='Apache-2.0',
    maintainer='attention_fusion_ros developers',
    maintainer_email='attention-fusion-ros@users.noreply.github.com',
    python_requires='>=3.10',
    packages=find_packages(include=(NAME, f'{NAME}.*')),
    package_data={NAME: ['py.typed', 'weights/*', 'maps/data/*', '**/*.yaml', '**/*.xml']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', files('launch', '*.launch.py')),
        (f'share/{NAME}/config', files('config', '*.yaml', '*.rviz', '*.json')),
        (f'share/{NAME}/config/sros2', files('config/sros2', '*.xml')),
    ],
    install_requires=requirements(),
    extras_require={
        'test': ['pytest', 'pytest-timeout', 'hypothesis'],
        'plots': ['matplotlib', 'tensorboard'],
        'fast': ['numba>=0.57'],
        'osm': ['osmium>=4'],
        'live': ['foxglove-sdk>=0.20'],
        'maps': ['osmium>=4', 'pyproj>=3.4'],
        'draco': ['DracoPy>=2'],
        'fleet': ['ray>=2.9', 'fsspec'],
        'export': ['onnx', 'onnxscript', 'onnxruntime'],
        'openvino': ['onnx', 'onnxscript', 'openvino'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [f'{command} = {NAME}.commands.{command}:main' for command in COMMANDS],
    },
)
