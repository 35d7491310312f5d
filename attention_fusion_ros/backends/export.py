# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing the network for other runtimes, ONNX and torch.export, and checking that the outputs are the same."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_fusion_ros.backends.exportable import exportable
from attention_fusion_ros.backends.exported import PRIOR, describe, input_names, named_outputs
from attention_fusion_ros.backends.onnx_file import onnx_model as onnx_model
from attention_fusion_ros.bev.map_image import CHANNELS as MAP_CHANNELS
from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.kernels import PLAIN, use
from attention_fusion_ros.network import checkpoint as checkpoints
from attention_fusion_ros.network.build import Network, lidar_layers
from attention_fusion_ros.network.checkpoint import Checkpoint
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.digest import digest, source_files
from attention_fusion_ros.utils.sealed_file import is_sealed, seal

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # the largest difference to eager execution that still counts as the same
BATCHES = (1, 2)  # the exported batch size is free: more than one is tried
Run = Callable[[Path, Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Exported:
    """One file and how it compares."""

    path: Path
    differences: dict[str, float] | None  # output -> largest absolute difference to eager; None: could not be run
    note: str = ''  # why it could not be run


def random_inputs(network: Network, batch: int, seed: int) -> tuple[Tensor, ...]:
    """Values in 0..1, as in the BEV grids: lidar (B, C, H, W), C as in `lidar_layers`, map (B, 3, H, W).

    And, where the network takes it, a prior (B, PRIOR_SIZE): that the map is a metre off, or so.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = network.config.cells
    grids = [torch.rand(batch, len(names), cells, cells, generator=generator)
             for names in (lidar_layers(network.config), MAP_CHANNELS)]
    if PRIOR not in input_names(network.config):
        return tuple(grids)
    mean = torch.randn(batch, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.05])
    covariance = torch.diag(torch.tensor([1.0, 1.0, 0.05]).square()).flatten().expand(batch, -1)
    return (*grids, torch.cat([mean, covariance, torch.rand(batch, 1, generator=generator)], dim=1))


def output_names(network: Network) -> list[str]:
    """Names of the outputs, see `exported.named_outputs`."""
    with torch.inference_mode():
        lidar, map_image, *_ = random_inputs(network, 1, 0)
        return list(named_outputs(network(lidar, map_image)))


def write_pt2(program: torch.export.ExportedProgram, path: Path, about: dict[str, str]) -> None:
    """The program as torch.export.load reads it; the description as extra files."""
    described = {f'{name}.json': text for name, text in about.items()}
    with atomic.replacing(path) as file:
        torch.export.save(program, file, extra_files=described)


def run_pt2(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Load a .pt2 file and run it: the inputs, see `exported.input_names` -> the outputs."""
    with torch.inference_mode():
        return list(torch.export.load(str(path)).module()(*inputs))


def write_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], names: list[str],
               inputs: Sequence[str]) -> None:
    """One file, weights inside. names: of the outputs. Raises ConfigurationError when packages for it are missing."""
    missing = [m for m in ('onnx', 'onnxscript') if importlib.util.find_spec(m) is None]
    if missing:
        raise ConfigurationError(f"ONNX export needs {' and '.join(missing)}: pip install {' '.join(missing)}, or use "
                                 '--format pt2')
    onnx_program = torch.onnx.export(program, input_names=list(inputs), output_names=names, dynamo=True, verbose=False)
    assert onnx_program is not None
    _without_traces(onnx_program.model)
    onnx_program.model.metadata_props.update(about)
    with atomic.replacing(path) as file:
        onnx_program.save(file.name, external_data=False)


def _without_traces(model: Any) -> None:
    """Take out what the exporter noted about where each node was made: source lines, and paths of this machine."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


def run_onnx(path: Path, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run a .onnx file in onnxruntime on the CPU: the inputs, see `exported.input_names` -> the outputs."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [given.name for given in session.get_inputs()]
    return [torch.from_numpy(a) for a in
            session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})]


def differences(path: Path, run: Run, network: Network, names: list[str]) -> dict[str, float]:
    """Run a file and eager on random inputs, for every size in BATCHES -> output name -> largest difference."""
    largest = dict.fromkeys(names, 0.0)
    for batch in BATCHES:
        inputs = random_inputs(network, batch, seed=batch)
        with torch.inference_mode():
            expected = exportable(network)(*inputs)
        found = run(path, inputs)
        if [tuple(f.shape) for f in found] != [tuple(e.shape) for e in expected]:
            raise ConfigurationError(f'{path.name} gives other shapes than the network for batch size {batch}')
        for name, ours, theirs in zip(names, expected, found):
            difference = float((ours - theirs).abs().max())
            largest[name] = max(largest[name], difference if difference == difference else float('inf'))
    return largest


def export(checkpoint: Checkpoint, folder: Path, formats: Sequence[str]) -> Iterator[Exported]:
    """Write and check each of `formats` ('onnx', 'pt2'). Raises ConfigurationError when a package is missing."""
    network = checkpoint.network.float().eval()
    names, about = output_names(network), describe(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    program = _traced(checkpoint)
    for kind in formats:
        path = folder / f'{checkpoint.name}.{kind}'
        with quiet():
            exported = _written(path, kind, program, network, names, about)
        yield exported  # after the block: what the caller logs is not to be silenced


def _written(path: Path, kind: str, program: torch.export.ExportedProgram, network: Network, names: list[str],
             about: dict[str, str]) -> Exported:
    if kind == 'pt2':
        write_pt2(program, path, about)
        return Exported(path, differences(path, run_pt2, network, names))
    write_onnx(program, path, about, names, input_names(network.config))
    if importlib.util.find_spec('onnxruntime') is None:
        return Exported(path, None, 'onnxruntime is not installed (pip install onnxruntime)')
    return Exported(path, differences(path, run_onnx, network, names))


def _traced(checkpoint: Checkpoint) -> torch.export.ExportedProgram:
    network = checkpoint.network.float().eval()
    if network.config.temporal['name'] != 'none':
        raise ConfigurationError(f"checkpoint '{checkpoint.name}' looks at earlier sweeps (network setting temporal), "
                                 'which the exported files cannot keep for it. Export a network without, or use '
                                 'backend torch.')
    batch = {0: torch.export.Dim('batch', min=1, max=64)}
    inputs = random_inputs(network, 2, 0)  # two sweeps: a batch of one would be taken for a constant
    with quiet(), torch.no_grad(), use(PLAIN):
        return torch.export.export(exportable(network), inputs, dynamic_shapes=(batch,) * len(inputs), strict=False)


def exported_once(config: NodeConfig) -> Path:
    """An .onnx file made of the .safetensors checkpoint that the parameter `checkpoint` names, see `onnx_model`."""
    loaded = checkpoints.resolve(config.checkpoint, config.allow_untrained)
    weights = hashlib.sha256()
    for tensor in loaded.network.state_dict().values():
        weights.update(tensor.numpy().tobytes())
    code = source_files(('network', 'attention', 'bev', 'kernels', 'backends'))
    key = digest(code, [torch.__version__, describe(loaded), weights.hexdigest()], 16)
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'attention_fusion_ros' / 'onnx'
    path = cache / f'{loaded.name}-{key}.onnx'
    if is_sealed(path):
        return path
    missing = [m for m in ('onnx', 'onnxscript') if importlib.util.find_spec(m) is None]
    if missing:
        given = f'--checkpoint {config.checkpoint} ' if config.checkpoint else ''
        raise ConfigurationError(
            f"backend {config.backend} runs .onnx files, and exporting '{loaded.name}' needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}, or run 'export {given}--format onnx --out DIR' where they are installed "
            "and give the file in DIR as parameter 'checkpoint'.")
    logger.warning("exporting checkpoint '%s' for backend %s once, to %s", loaded.name, config.backend, path)
    try:
        cache.mkdir(parents=True, exist_ok=True)  # before the work, which takes a while
        program = _traced(loaded)
        with quiet():
            write_onnx(program, path, describe(loaded), output_names(loaded.network),
                       input_names(loaded.network.config))
        seal(path)
    except OSError as error:
        raise ConfigurationError(
            f"checkpoint '{loaded.name}' has to be exported for backend {config.backend}, but '{cache}' cannot be "
            f"written: {error.strerror}. Set XDG_CACHE_HOME to a folder that can be written, or run 'export --format "
            "onnx --out DIR' and give the file in DIR as parameter 'checkpoint'.") from error
    return path


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters, whose warnings are about their own future and not about this network."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
