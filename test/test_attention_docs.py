"""docs/attention.md: its example runs and is short, its table is complete and names the papers that the files name."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from attention_fusion_ros import attention
from attention_fusion_ros.attention import MECHANISMS
from attention_fusion_ros.contracts import ConfigurationError

TEXT = (Path(__file__).parents[1] / 'docs' / 'attention.md').read_text(encoding='utf-8')


def test_the_example_runs_in_under_30_lines(capsys):
    example, = re.findall(r'```python\n(.*?)```', TEXT, flags=re.DOTALL)
    assert len(example.splitlines()) < 30
    try:
        exec(compile(example, 'docs/attention.md', 'exec'), {'__name__': 'example'})
        stated = re.search(r'print\(.*#\s*(.*)$', example, flags=re.MULTILINE).group(1)
        assert capsys.readouterr().out.strip() == stated
        module = attention.build('simam', 8)
        x = torch.randn(2, 8, 9, 12, requires_grad=True)
        features, weights = module(x)
        features.sum().backward()
        assert features.shape == x.shape and weights['spatial'].shape == (2, 1, 9, 12)
        assert 0 <= weights['spatial'].min() and weights['spatial'].max() <= 1 and torch.isfinite(x.grad).all()
        with pytest.raises(ConfigurationError, match='regularisation'):
            attention.build('simam', 8, strength=1)
    finally:
        MECHANISMS.pop('simam', None)


def test_every_mechanism_has_its_row_in_the_table():
    rows = re.findall(r'^\| `(\w+)` \|', TEXT, flags=re.MULTILINE)
    assert sorted(rows) == sorted(MECHANISMS)


def test_every_paper_named_in_the_code_is_linked():
    folder = Path(attention.__file__).parent
    for path in folder.glob('*.py'):
        head = path.read_text(encoding='utf-8').split('"""')[1]
        for link in re.findall(r'https://\S+', head):
            assert link.rstrip('.,') in TEXT, f'{path.name}: {link}'


@pytest.mark.parametrize('name', [name for name in MECHANISMS if name != 'none'])
def test_every_file_names_its_paper(name):
    module = __import__(MECHANISMS[name].__module__, fromlist=['x'])
    assert re.search(r'https://(arxiv\.org|doi\.org)/', module.__doc__), f'{name}: the paper is linked at the head'


def test_options_in_the_table_of_differences_exist():
    section = TEXT.split('## Where implementations differ')[1].split('\n## ')[0]
    options = re.findall(r'`(\w+): (\w+)`', section)
    assert len(options) >= 6
    for name, option in options:
        assert option in inspect.signature(MECHANISMS[name].__init__).parameters
