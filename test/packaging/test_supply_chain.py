# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Audit, bill of materials and release: what they say, and never that all is well when nothing was checked."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))

import supply_chain  # noqa: E402

# What pip-audit 2 writes: (name, version, vulnerabilities), and those that it skipped.
GOOD = {'name': 'numpy', 'version': '2.2.6', 'vulns': []}
BAD = {'name': 'old', 'version': '1.0', 'vulns': [{'id': 'PYSEC-2020-1', 'fix_versions': ['1.1'], 'aliases': []}]}
UNKNOWN = {'name': 'rclpy', 'skip_reason': 'Dependency not found on PyPI'}


def pip_audit(folder: Path, packages, stderr: str = '') -> list[str]:
    """A program that writes such a report, or none, and ends as pip-audit does."""
    script = folder / 'pip_audit.py'
    script.write_text('import json, sys\n'
                      f'packages, stderr = {packages!r}, {stderr!r}\n'
                      'print(stderr, file=sys.stderr)\n'
                      'if packages is None:\n    sys.exit(1)\n'
                      'with open(sys.argv[sys.argv.index("--output") + 1], "w") as file:\n'
                      '    json.dump({"dependencies": packages, "fixes": []}, file)\n'
                      'sys.exit(any(p.get("vulns") for p in packages))\n')
    return [sys.executable, str(script)]


def test_vulnerabilities_are_named_and_fail(tmp_path):
    text, status = supply_chain.audited(pip_audit(tmp_path, [GOOD, BAD, UNKNOWN]), tmp_path / 'audit.json')
    assert status == supply_chain.FOUND and 'old 1.0: PYSEC-2020-1, mended in 1.1' in text
    assert '2 packages checked, 1 known vulnerabilities; not in the database: rclpy' in text


def test_without_any_all_is_well(tmp_path):
    assert supply_chain.audited(pip_audit(tmp_path, [GOOD]), tmp_path / 'audit.json') == (
        '1 packages checked, 0 known vulnerabilities', 0)


@pytest.mark.parametrize('packages, stderr, message', [
    (None, 'Traceback\nConnectionError: pypi.org cannot be reached.', 'cannot be reached. Remedy: run it where'),
    (None, '', 'it said nothing'), ([UNKNOWN], '', 'none of 1 packages')])
def test_no_answer_is_not_a_good_one(tmp_path, packages, stderr, message):
    (tmp_path / 'audit.json').write_text(json.dumps({'dependencies': [GOOD]}))  # of an earlier run
    with pytest.raises(supply_chain.NotRun, match=message):
        supply_chain.audited(pip_audit(tmp_path, packages, stderr), tmp_path / 'audit.json')


def test_the_command_says_that_nothing_was_checked(tmp_path, monkeypatch, capsys):
    def fails(folder):
        raise supply_chain.NotRun('no connection')
    monkeypatch.setattr(supply_chain, 'audit', fails)
    assert supply_chain.main(['audit']) == supply_chain.NOT_RUN
    assert 'not run, and nothing is known: no connection' in capsys.readouterr().err


def test_both_are_targets_that_set_up_first():
    makefile = (ROOT / 'Makefile').read_text()
    assert re.search(r'^audit sbom: setup\n\t\$\(VENV_PYTHON\) tools/supply_chain\.py \$@$', makefile, re.MULTILINE)
    assert re.search(r'^\.PHONY:.*\baudit sbom\b', makefile, re.MULTILINE)


def test_the_sums_of_the_shipped_checkpoints():
    weights = ROOT / 'attention_fusion_ros' / 'weights'
    for line in (weights / 'SHA256SUMS').read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((weights / name).read_bytes()).hexdigest() == digest, f'{name}: see tools/model_card.py'


@pytest.fixture(scope='module')
def release() -> list[dict]:
    return yaml.safe_load((ROOT / '.github/workflows/release.yml').read_text())['jobs']['release']['steps']


def test_a_release_has_checksums_of_every_file_and_says_where_they_come_from(release):
    commands = [step.get('run', '') for step in release]
    sums, = (k for k, text in enumerate(commands) if 'sha256sum -- * > SHA256SUMS' in text)
    published, = (k for k, text in enumerate(commands) if 'gh release create' in text)
    attested, = (k for k, step in enumerate(release) if 'attest-build-provenance' in step.get('uses', ''))
    assert sums < attested < published and 'dist/*' in commands[published]
    assert release[attested]['with'] == {'subject-checksums': 'dist/SHA256SUMS'}
    assert not any('dist/' in text for text in commands[sums + 1:published])  # nothing comes after the sums
    before = '\n'.join(commands[:sums])
    assert 'supply_chain.py audit' in before and 'cp out/sbom.cdx.json dist/' in before
    permissions = yaml.safe_load((ROOT / '.github/workflows/release.yml').read_text())['jobs']['release']['permissions']
    assert permissions == {'contents': 'write', 'id-token': 'write', 'attestations': 'write'}


def test_the_oldest_versions_are_run_by_ci():
    jobs = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())['jobs']
    commands = '\n'.join(step.get('run', '') for step in jobs['oldest']['steps'])
    assert 'requirements.txt -c .ci/oldest.txt' in commands and 'pytest' in commands
