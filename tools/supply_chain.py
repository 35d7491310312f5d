# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What this environment consists of, and what is known to be wrong with it.

    make audit   known vulnerabilities of the installed packages (pip-audit), out/audit.json
    make sbom    the bill of materials in CycloneDX 1.6 (cyclonedx-bom), out/sbom.cdx.json

The two programs have an environment of their own, out/venv-supply-chain, so that they do not list themselves. Exit
status: 0 when all is well, 1 for known vulnerabilities, 2 when nothing was checked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'out'
TOOLS = {'audit': 'pip-audit>=2.7,<3', 'sbom': 'cyclonedx-bom>=7,<8'}
FOUND, NOT_RUN = 1, 2


class NotRun(Exception):
    """Why nothing was checked, and what to do about it."""


def program(command: str, folder: Path) -> Path:
    """The Python that has the program of a command, in an environment made for it. Raises NotRun."""
    python = folder / 'bin' / 'python'
    if not python.exists():
        venv.create(folder, with_pip=True)
    done = subprocess.run([python, '-m', 'pip', '--quiet', '--disable-pip-version-check', 'install', TOOLS[command]],
                          capture_output=True, text=True)
    if done.returncode:
        raise NotRun(f'{TOOLS[command]} cannot be installed: {_last(done.stderr)}. Remedy: check the connection to the '
                     'package index')
    return python


def audited(command: list[str], report: Path) -> tuple[str, int]:
    """Run pip-audit; what it found, and the exit status. Raises NotRun when it could not ask its database."""
    report.unlink(missing_ok=True)
    done = subprocess.run([*command, '--format', 'json', '--output', str(report), '--progress-spinner', 'off'],
                          capture_output=True, text=True)
    try:
        packages = json.loads(report.read_text())['dependencies']
    except (OSError, ValueError, KeyError) as error:
        raise NotRun(f'the database of known vulnerabilities gave no answer: {_last(done.stderr)}. Remedy: run it '
                     'where pypi.org can be reached') from error
    checked = [package for package in packages if 'skip_reason' not in package]
    skipped = [package['name'] for package in packages if 'skip_reason' in package]
    if not checked:  # pip-audit itself says that nothing is known against them
        raise NotRun(f'none of {len(packages)} packages is known to the database. Remedy: ask pypi.org itself, not a '
                     'mirror of its files')
    lines = [f"{package['name']} {package['version']}: {found['id']}, mended in "
             f"{', '.join(found['fix_versions']) or '-'}"
             for package in checked for found in package['vulns']]
    summary = f'{len(checked)} packages checked, {len(lines)} known vulnerabilities'
    summary += f'; not in the database: {", ".join(sorted(skipped))}' if skipped else ''
    return '\n'.join([*lines, summary]), FOUND if lines else 0


def audit(folder: Path) -> int:
    """Check the packages of this interpreter's environment; returns the exit status."""
    python = program('audit', folder)
    report = OUT / 'audit.json'
    text, status = audited([str(python), '-m', 'pip_audit', '--path', sysconfig.get_path('purelib')], report)
    print(f'{text}\nwrote {report}')
    return status


def sbom(folder: Path) -> int:
    """Write the bill of materials of this interpreter's environment; returns the exit status."""
    python = program('sbom', folder)
    target = OUT / 'sbom.cdx.json'
    done = subprocess.run([python, '-m', 'cyclonedx_py', 'environment', sys.executable, '--spec-version', '1.6',
                           '--output-format', 'JSON', '--output-file', str(target)], capture_output=True, text=True)
    if done.returncode:
        raise NotRun(f'cyclonedx-bom: {_last(done.stderr)}')
    print(f"wrote {target}: {len(json.loads(target.read_text())['components'])} components")
    return 0


def _last(text: str) -> str:
    """The last line of what a program says, which is the error, without its full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip('.')[:300] if lines else 'it said nothing'


def main(argv: list[str] | None = None) -> int:
    """Run one of the two; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=tuple(TOOLS))
    options = parser.parse_args(argv)
    OUT.mkdir(exist_ok=True)
    try:
        return {'audit': audit, 'sbom': sbom}[options.command](OUT / 'venv-supply-chain')
    except NotRun as error:
        print(f'{options.command}: not run, and nothing is known: {error}.', file=sys.stderr)
        return NOT_RUN


if __name__ == '__main__':
    sys.exit(main())
