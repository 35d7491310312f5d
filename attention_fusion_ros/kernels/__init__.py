# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Operations that may have fast versions, behind one dispatcher.

An *operation* is a function in plain torch or numpy, decorated where it belongs (for example in `bev.lidar`):

    @operation('scatter_cells')
    def scatter_cells(cell: Tensor, height: Tensor, value: Tensor, cells: int) -> tuple[Tensor, ...]: ...

A *fast version* has the same signature and gives the same numbers. It is one file in `kernels/fast/`:

    @fast_version('scatter_cells', 'triton', devices=('cuda',), differentiable=False,
                  available=lambda: importlib.util.find_spec('triton') is not None)
    def scatter_cells(cell, height, value, cells): ...

Every module in `kernels/fast/` is imported when the first operation is called; nothing else has to be edited. Callers
call the operation and never notice. Which version runs:

- by default (`auto`) the first fast version, in order of registration, that is available, is made for the device of
  the tensors (that of arrays is the CPU) and, where gradients are wanted, is differentiable; else the plain one;
- the parameter `kernels` of the node and of all commands: `auto` or `plain`;
- `with use('plain'):` or `with use('triton', 'scatter_cells'):` chooses for a block of code, in this thread;
- the environment variable ATTENTION_FUSION_KERNELS does for the process: `plain`, `triton`, or
  `scatter_cells=triton,warp=plain`.

A version that was asked for by name and cannot run is replaced by the plain one, with one warning.

`test/kernels/test_parity.py` compares every registered version with the plain one, outputs and gradients, over the
cases of `test/support/kernel_cases.py`. A new operation needs an entry there, and the test says so; a new fast version
needs nothing.
"""

from typing import TYPE_CHECKING, Any

from attention_fusion_ros.kernels.registry import (
    AUTO,
    ENVIRONMENT_VARIABLE,
    PLAIN,
    Operation,
    chosen,
    fast_version,
    operation,
    operations,
    remove_version,
    use,
)

__all__ = ['AUTO', 'ENVIRONMENT_VARIABLE', 'PLAIN', 'Operation', 'cbam', 'chosen', 'fast_version', 'operation',
           'operations', 'remove_version', 'use']

if TYPE_CHECKING:
    from attention_fusion_ros.kernels.cbam_plain import cbam


def __getattr__(name: str) -> Any:
    """`cbam` is imported when it is asked for: it needs torch, which launch files and decoders do without."""
    if name == 'cbam':
        from attention_fusion_ros.kernels import cbam_plain
        return cbam_plain.cbam
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
