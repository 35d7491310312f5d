# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, and files that are half written or change while they are used."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lifecycle_msgs.msg import Transition

from fault_kit.fault import fault
from fault_kit.isolation import NAMESPACES
from fault_kit.run import ROOT, Run
from fault_kit.stage import READY_TIMEOUT_S

GROUP = 'disks and files'
AGAIN = 300.0  # s, a command that is run again from start to end
WEIGHTS = ROOT / 'attention_fusion_ros/weights/default.safetensors'


def recording(run: Run) -> Path:
    """A small one (mcap), made once."""
    path = run.folder.parent / 'recording'
    if not path.exists():
        run.command('simulate', '--bag', str(path), '--lidar', 'vlp_16', '--duration', '4', '--rate', '2')
    return path


def on_small_disk(folder: Path, kilobytes: int) -> list[str]:
    """Prefix for a command that finds a disk of this size at `folder`, and after which what is there is listed."""
    folder.mkdir(parents=True, exist_ok=True)
    script = (f'mount -t tmpfs -o size={kilobytes}k none {folder}; "$@"; status=$?; echo; '
              f'(cd {folder} && find . -type f -printf "left: %p %s bytes\\n"); exit $status')
    return ['unshare', '--mount', 'sh', '-c', script, 'sh']


def _full(name: str, kilobytes: int, make: Callable[[Run, Path], list[str]], results: tuple[str, ...]) -> None:
    def act(run: Run) -> None:
        disk = run.folder / 'disk'
        arguments = make(run, disk / 'out')
        done = run.command(*arguments, prefix=on_small_disk(disk, kilobytes))
        run.tell(done)
        run.check(done.returncode != 0, 'it claims success')
        left = [line.removeprefix('left: ./') for line in done.stdout.splitlines() if line.startswith('left: ')]
        run.said.append(f"left behind: {', '.join(left[:4]) or 'nothing'}")
        run.expect('No space', 'no space', 'no room', 'disk')
        started = time.monotonic()
        done = run.command(*arguments)  # the folder without a disk of its own: there is room
        run.again_s = time.monotonic() - started
        run.check(done.returncode == 0, f'afterwards it ended with {done.returncode}')
        for result in results:
            run.check(bool(list((disk / 'out').glob(result))), f'no {result} afterwards')

    act.__doc__ = f'Its output goes to a disk of {kilobytes} KB; then the same command is run with room.'
    fault(GROUP, name, bound_s=AGAIN, needs=(NAMESPACES,), graph=False)(act)


def _train(run: Run, out: Path) -> list[str]:
    return ['train', '--out', str(out), '--cache', str(run.folder / 'cache'), *TRAINING]


FEW = ('--limit', '3', '--pictures', '2')
TRAINING = ('-s', 'scenes=8', '-s', 'validation_scenes=4', '-s', 'steps=2', '-s', 'batch=4', '--device', 'cpu')
_full('disk full while replay writes', 60, lambda run, out: ['replay', str(recording(run)), '--out', str(out), *FEW],
      ('directions.csv', 'report.html'))
_full('disk full while replay --bag writes', 400, lambda run, out: [
    'replay', str(recording(run)), '--out', str(run.folder / 'csv'), '--bag', str(out), *FEW],
    ('*.mcap', 'metadata.yaml'))
_full('disk full while export writes', 300, lambda run, out: [
    'export', '--out', str(out), '--format', 'onnx'], ('*.onnx',))
_full('disk full while train writes', 200, _train, ('*.safetensors',))
_full('disk full while a drive is simulated', 300, lambda run, out: [
    'simulate', '--bag', str(out), '--lidar', 'vlp_16', '--duration', '4', '--rate', '2'], ('*.mcap', 'metadata.yaml'))


def _half(name: str, text: str, size: Callable[[int], int]) -> None:
    def act(run: Run) -> None:
        path = run.folder / 'half.safetensors'
        content = WEIGHTS.read_bytes()
        path.write_bytes(content[:size(len(content))])
        run.stage.start_node(parameters={'checkpoint': str(path)}, start=run.stage.entry_point(activate=False))
        run.inject()
        run.check(not run.stage.change_state(Transition.TRANSITION_CONFIGURE), 'it was configured all the same')
        run.note_log_errors()
        run.expect(str(path.name))
        path.write_bytes(content)
        run.lift()
        run.stage.reconfigure()

    act.__doc__ = text
    fault(GROUP, name, bound_s=15.0)(act)


_half('checkpoint half written', 'The node is to be configured with half of a checkpoint; then it is written whole.',
      lambda size: size // 2)
_half('checkpoint empty', 'The same with a file of 0 bytes.', lambda size: 0)


@fault(GROUP, 'checkpoint replaced while it runs')
def replaced(run: Run) -> None:
    """The file of the running node is cut to 100 bytes in place for 4 s, and written whole again."""
    path = run.folder / 'own.safetensors'
    shutil.copy(WEIGHTS, path)
    run.stage.start_node(parameters={'checkpoint': str(path)})
    run.stage.answer(time.monotonic(), READY_TIMEOUT_S * run.stage.patience)
    run.inject()
    with open(path, 'r+b') as file:
        file.truncate(100)
    time.sleep(4.0)
    run.still_answers()
    shutil.copy(WEIGHTS, path)
    run.lift()


@fault(GROUP, 'parameter file broken', bound_s=30.0)
def broken_parameters(run: Run) -> None:
    """The node is started with a file that breaks off in the midst of a line; then as it should be."""
    path = run.folder / 'parameters.yaml'
    text = (ROOT / 'config/attention_fusion.yaml').read_text()
    path.write_text(text[:text.index('ros__parameters') + 60] + ': [')
    run.inject()
    run.stage.start_node(start=[*run.stage.entry_point(), '--ros-args', '--params-file', str(path)])
    run.note_end(60.0 * run.stage.patience)
    run.note_log_errors()
    run.expect(path.name)
    run.lift()
    run.stage.start_node()


def _command(name: str, text: str, bound_s: float = AGAIN) -> Callable[[Callable[[Run], None]], None]:
    def register(act: Callable[[Run], None]) -> None:
        act.__doc__ = text
        fault(GROUP, name, bound_s=bound_s, graph=False)(act)
    return register


@_command('recording half written', 'replay gets an mcap file that breaks off in the middle.')
def half_recording(run: Run) -> None:  # noqa: D103
    half = run.folder / 'half'
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(recording(run), half)
    for path in half.glob('*.mcap'):
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    started = time.monotonic()
    done = run.command('replay', str(half), '--out', str(run.folder / 'out'), *FEW)
    run.again_s = time.monotonic() - started
    run.tell(done)
    rows = (run.folder / 'out/directions.csv').read_text().count('\n') - 1
    run.said.append(f'{rows} rows in directions.csv')
    # 1: done, and it says what is lost.
    run.check(done.returncode in (0, 1) and rows > 0, 'nothing was made of what is there')


@_command('scenes half written', 'Every file of the cache of scenes is cut to half; the same command is run again.')
def half_scenes(run: Run) -> None:  # noqa: D103
    cache, arguments = run.folder / 'cache', _train(run, run.folder / 'out')
    run.check(run.command(*arguments, '--scenes-only').returncode == 0, 'no scenes were made')
    files = [f for f in cache.rglob('*') if f.is_file() and f.stat().st_size > 1000]
    for file in files:
        file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    run.said.append(f'{len(files)} files cut')
    started = time.monotonic()
    done = run.command(*arguments)
    run.again_s = time.monotonic() - started
    run.tell(done)
    if done.returncode != 0:  # what it says has to help
        shutil.rmtree(cache)
        run.check(run.command(*arguments).returncode == 0, 'nor did it work after the cache was removed')


@_command('training continued from half a checkpoint', 'train --start-from a file that breaks off.')
def half_start(run: Run) -> None:  # noqa: D103
    path = run.folder / 'half.safetensors'
    path.write_bytes(WEIGHTS.read_bytes()[:50_000])
    started = time.monotonic()
    done = run.command(*_train(run, run.folder / 'out'), '--start-from', str(path))
    run.again_s = time.monotonic() - started
    run.tell(done)
    run.check(done.returncode not in (0, -11, -7), 'it was taken, or ended the process')
    run.expect(path.name)


@_command('read-only output folder', 'replay is to write where it must not.')
def read_only_out(run: Run) -> None:  # noqa: D103
    from fault_kit.environment_faults import read_only
    from fault_kit.isolation import isolated
    if not isolated():
        run.check(False, 'needs namespaces of its own')
        return
    folder, started = run.folder / 'read_only', time.monotonic()
    done = run.command('replay', str(recording(run)), '--out', str(folder / 'out'), prefix=read_only(run, folder))
    run.again_s = time.monotonic() - started
    run.tell(done)
    run.check(done.returncode not in (0,), 'it claims success')


assert sys.platform.startswith('linux')
