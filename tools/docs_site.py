# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Hooks of MkDocs (see mkdocs.yml): pages that live outside docs/, and the API reference.

README.md, CONTRIBUTING.md and CHANGELOG.rst become pages of the site, and every room of the package gets a page made
from its docstrings. Links that leave docs/ lead to the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'attention_fusion_ros'
OUTSIDE = {'index.md': 'README.md', 'contributing.md': 'CONTRIBUTING.md', 'changelog.md': 'CHANGELOG.rst'}
TOP = 'attention_fusion_ros'  # the page of what is not in a room


def rooms() -> dict[str, list[str]]:
    """Page name -> its modules, in alphabetical order."""
    found: dict[str, list[str]] = {TOP: []}
    for path in sorted(PACKAGE.rglob('*.py')):
        relative = path.relative_to(ROOT).with_suffix('')
        parts = relative.parts[:-1] if relative.name == '__init__' else relative.parts
        if parts[-1] == '__main__':
            continue
        room = parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else TOP
        found.setdefault(room, []).append('.'.join(parts))
    return found


def api_page(room: str, modules: list[str]) -> str:
    """Markdown of a page with the public names of these modules."""
    return '\n\n'.join([f'# {room}', *(f'::: {module}' for module in modules)]) + '\n'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the API reference to the navigation."""
    config.nav.append({'API': [{room: f'api/{room}.md'} for room in rooms()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for page, source in OUTSIDE.items():
        text = (ROOT / source).read_text()
        if source.endswith('.rst'):
            text = from_rst(text)
        files.append(File.generated(config, page, content=relocated(text, '', config.repo_url)))
    for room, modules in rooms().items():
        files.append(File.generated(config, f'api/{room}.md', content=api_page(room, modules)))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, **_: Any) -> str:
    """Links of the pages in docs/ that leave it."""
    if page.file.generated_by:
        return markdown
    return relocated(markdown, 'docs', config.repo_url)


def relocated(text: str, folder: str, repository: str) -> str:
    """Rewrite relative links of a page in `folder` of the repository for the site.

    Links into docs/ become links of the site, all others lead to the repository.
    """
    pages = {source: page for page, source in OUTSIDE.items()}

    def link(match: re.Match[str]) -> str:
        target, anchor = match.group(2), match.group(3) or ''
        if not target or re.match(r'[a-z]+:', target):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in pages:
            where = pages[path]
        elif path.startswith('docs/') and not path.startswith('docs/results/'):
            where = path.removeprefix('docs/')
        else:
            kind = 'tree' if (ROOT / path).is_dir() else 'blob'
            where = f'{repository}/{kind}/main/{path}'
        return f'{match.group(1)}({where}{anchor})'
    return re.sub(r'(\]) ?\(([^)#\s]*)(#[^)\s]*)?\)', link, text)


def from_rst(text: str) -> str:
    """The simple reStructuredText of CHANGELOG.rst as Markdown."""
    text = re.sub(r'^\^+\n(.+)\n\^+$', r'# \1', text, flags=re.MULTILINE)
    text = re.sub(r'^(.+)\n-{3,}$', r'## \1', text, flags=re.MULTILINE)
    text = re.sub(r'^(.+)\n\^{3,}$', r'# \1', text, flags=re.MULTILINE)
    text = re.sub(r'^(.+)\n~{3,}$', r'### \1', text, flags=re.MULTILINE)
    return text.replace('``', '`').replace('\n* ', '\n- ')
