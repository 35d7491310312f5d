# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of OpenStreetMap are read in a process of their own: a damaged one can end the library, and us with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.maps import osm_file
from attention_fusion_ros.maps.osm_file import Ways
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.arrays import read_arrays

REFUSED = 3  # exit status when the file cannot be used; what is wrong with it stands in `REASON`
REASON, RESULT = 'reason.txt', 'ways.npz'


def read_ways(path: str | Path, kinds: Collection[str]) -> Ways:
    """As `osm_file.read_ways`, which runs in another process.

    Raises ConfigurationError as that does, and when the process was ended by a signal.
    """
    osm_file.library(str(path))
    with TemporaryDirectory(prefix='osm-') as folder:
        command = [sys.executable, '-m', __name__, str(path), folder, *kinds]
        # What this process can import, that one can.
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors='replace', check=False)
        if done.returncode == REFUSED:
            raise ConfigurationError(Path(folder, REASON).read_bytes().decode('utf-8', 'surrogatepass'))
        if done.returncode == -signal.SIGKILL:
            raise ConfigurationError(f"while '{path}' was read, the process that reads it was killed; the system does "
                                     'that when memory runs out. Remedy: cut out the region where you drive (osmium '
                                     'extract --bbox)')
        if done.returncode < 0:
            raise ConfigurationError(f"'{path}' is damaged: it ended the library that reads it (osmium, "
                                     f'{_signal(-done.returncode)}). Remedy: get the file again')
        if done.returncode:
            words = done.stderr.strip().splitlines() or ['no words']
            raise ConfigurationError(f"'{path}' could not be read: the process that reads it ended with status "
                                     f'{done.returncode}: {words[-1]}')
        return _unpacked(read_arrays(Path(folder, RESULT)))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'


def _packed(ways: Ways) -> dict[str, np.ndarray]:
    arrays = {name: value for name, value in vars(ways).items() if isinstance(value, np.ndarray)}
    text = json.dumps({'tags': ways.tags, 'bounds': ways.bounds})
    return {**arrays, 'text': np.frombuffer(text.encode('utf-8', 'surrogatepass'), np.uint8)}


def _unpacked(stored: dict[str, np.ndarray]) -> Ways:
    text = json.loads(stored['text'].tobytes().decode('utf-8', 'surrogatepass'))
    bounds = text['bounds']
    return Ways(stored['refs'], stored['first'], tuple(text['tags']), stored['node_ids'], stored['latitudes'],
                stored['longitudes'], None if bounds is None else tuple(bounds), stored['barred'], stored['turns'])


def main() -> int:
    """The other process: reads argv[1] with the kinds argv[3:] into the folder argv[2]; returns the exit status."""
    path, folder, *kinds = sys.argv[1:]
    try:
        ways = osm_file.read_ways(path, kinds)
    except ConfigurationError as error:
        atomic.write_bytes(Path(folder, REASON), str(error).encode('utf-8', 'surrogatepass'))
        return REFUSED
    with atomic.replacing(Path(folder, RESULT)) as file:
        np.savez(file, **_packed(ways))  # type: ignore[arg-type]  # names, not options
    return 0


if __name__ == '__main__':
    sys.exit(main())
