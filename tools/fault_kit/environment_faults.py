# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Homes, folders and variables that are not as a program would like them."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from fault_kit.fault import fault
from fault_kit.isolation import NAMESPACES
from fault_kit.run import Run
from fault_kit.stage import READY_TIMEOUT_S

GROUP = 'environment'
STARTS = 30.0  # s


def read_only(run: Run, folder: Path) -> list[str]:
    """The command line prefix for a process that sees this folder read-only (root, whom permissions do not stop)."""
    folder.mkdir(parents=True, exist_ok=True)
    return ['unshare', '--mount', 'sh', '-c',
            f'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec "$@"', 'sh']


def _read_only(name: str, variable: str, text: str) -> None:
    def act(run: Run) -> None:
        folder = run.folder / 'read_only'
        run.inject()
        run.lift()
        run.stage.start_node(start=[*read_only(run, folder), 'env', f'{variable}={folder / "below"}',
                                    *run.stage.entry_point()])

    act.__doc__ = text
    fault(GROUP, name, bound_s=STARTS, needs=(NAMESPACES,))(act)


_read_only('read-only home', 'HOME', 'The node starts with HOME on a read-only file system; ROS_LOG_DIR is elsewhere.')
_read_only('read-only cache of numba', 'NUMBA_CACHE_DIR', 'NUMBA_CACHE_DIR is on a read-only file system.')
_read_only('log directory not writable', 'ROS_LOG_DIR', 'ROS_LOG_DIR is on a read-only file system.')
_read_only('no room for temporary files', 'TMPDIR', 'TMPDIR is a folder that cannot be made.')


def _variables(name: str, text: str, works: bool, say: tuple[str, ...] = (), **variables: str | None) -> None:
    def act(run: Run) -> None:
        unset = [word for key, value in variables.items() if value is None for word in ('-u', key)]
        given = [f'{key}={value}' for key, value in variables.items() if value is not None]
        start = ['env', *unset, *given, *run.stage.entry_point()]
        run.inject()
        run.lift()
        if works:
            run.stage.start_node(start=start)
            return
        run.stage.start_node(start=start)
        run.note_end(60.0 * run.stage.patience)
        run.note_log_errors()
        if say:
            run.expect(*say)
        run.lift()
        run.stage.start_node()

    act.__doc__ = text
    fault(GROUP, name, bound_s=STARTS)(act)


_variables('no HOME', 'HOME and ROS_LOG_DIR are not set.', True, HOME=None, ROS_LOG_DIR=None)
_variables('LANG=C, no UTF-8', 'The locale is C.', True, LANG='C', LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
_variables('middleware that is not installed', 'RMW_IMPLEMENTATION names another one; then as it should be.',
           False, ('rmw_nowhere',), RMW_IMPLEMENTATION='rmw_nowhere_cpp')
_variables('domain that is no number', 'ROS_DOMAIN_ID=house; then as it should be.', False, ('DOMAIN',),
           ROS_DOMAIN_ID='house')
_variables('domain out of range', 'ROS_DOMAIN_ID=500; then as it should be.', False, ('500', 'domain', 'DOMAIN'),
           ROS_DOMAIN_ID='500')
_variables('ROS_LOCALHOST_ONLY besides the discovery range', 'ROS_LOCALHOST_ONLY=1 as well, which newer distributions '
           'call deprecated.', True, ROS_LOCALHOST_ONLY='1')
_variables('profile of Fast DDS that does not exist', 'FASTRTPS_DEFAULT_PROFILES_FILE names no file.', True,
           FASTRTPS_DEFAULT_PROFILES_FILE='/nowhere/profile.xml')
_variables('OMP_NUM_THREADS that is no number', 'OMP_NUM_THREADS=many.', True, OMP_NUM_THREADS='many')
_variables('time zone that does not exist', 'TZ=Nowhere/City.', True, TZ='Nowhere/City')


@fault(GROUP, 'cache of numba half written', bound_s=STARTS)
def broken_cache(run: Run) -> None:
    """Every file of NUMBA_CACHE_DIR is cut to half its length before the node starts."""
    folder = run.folder / 'numba'
    shutil.rmtree(folder, ignore_errors=True)
    run.stage.start_node(environment={'NUMBA_CACHE_DIR': str(folder)})
    run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
    run.stop_node()
    files = [f for f in folder.rglob('*') if f.is_file()]
    for file in files:
        file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    run.said.append(f'{len(files)} files cut')
    run.inject()
    run.lift()
    run.stage.start_node(environment={'NUMBA_CACHE_DIR': str(folder)})
