# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How well the network's spatial attention agrees with Grad-CAM, over held-out simulated scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.errors import InputError
from attention_fusion_ros.evaluation.checkpoints import Networks
from attention_fusion_ros.evaluation.run_settings import RunOutput, RunSettings
from attention_fusion_ros.evaluation.tables import Report, cell
from attention_fusion_ros.metrics.agreement import Agreement
from attention_fusion_ros.metrics.bootstrap import mean_estimate
from attention_fusion_ros.pipeline.batch import BatchedPipeline
from attention_fusion_ros.report.attention_figure import attention_figure
from attention_fusion_ros.report.explanation import Explanation, agreements
from attention_fusion_ros.studies.map_share import scenes_with_a_map
from attention_fusion_ros.utils import atomic
from attention_fusion_ros.utils.tables import Table

PAGE_DPI = 110  # of the picture for the documentation
MEASURES = {'pearson': 'Pearson', 'spearman': 'Spearman', 'top_iou': 'IoU of the top 10 %'}


def stage_agreements(config: NodeConfig, first_seed: int, count: int, cache: Path, lookahead: float = 20.0,
                     progress: Callable[[int], object] = lambda scenes: None) -> list[dict[str, Agreement]]:
    """Stage -> agreement, for `count` scenes with a map whose sweep gives at least one branch.

    Raises ConfigurationError when the checkpoint cannot be used, RuntimeError when too few scenes give a branch.
    """
    pipeline = BatchedPipeline(config.in_torch())
    found: list[dict[str, Agreement]] = []
    for scene in scenes_with_a_map(first_seed, 10 * count, cache, lookahead):
        if len(found) == count:
            break
        inputs = scene.inputs()
        try:
            sample = pipeline.preprocess.alone(inputs, inputs.layout)
        except InputError:
            continue
        result = pipeline.results([sample])[0]
        if result.branches:
            found.append(agreements(result, pipeline.explain(result)))
            progress(1)
    pipeline.close()
    if len(found) < count:
        raise RuntimeError(f'only {len(found)} of {count} scenes gave a branch')
    return found


def example(config: NodeConfig, first_seed: int, cache: Path, path: Path, lookahead: float = 20.0) -> Path:
    """Writes a picture: attention beside Grad-CAM for the first scene with a drawn route and a direction.

    Raises ConfigurationError when the checkpoint cannot be used, RuntimeError when there is no such scene, OSError.
    """
    pipeline = BatchedPipeline(config.in_torch())
    for scene in scenes_with_a_map(first_seed, 100, cache, lookahead):
        if scene.info.route_drawn:
            inputs = scene.inputs()
            sample = pipeline.preprocess.alone(inputs, inputs.layout)
            result = pipeline.results([sample])[0]
            if result.direction is not None:
                maps = pipeline.explain(result)
                figure = attention_figure(result, maps, Explanation.of(result, maps), PAGE_DPI)
                atomic.save_picture(path, figure)
                return path
    raise RuntimeError('no scene with a drawn route and a direction among 100')


def agreement_table(found: Sequence[dict[str, Agreement]]) -> Table:
    """Mean agreement of every stage that has spatial attention."""
    stages = dict.fromkeys(stage for scene in found for stage in scene)
    rows = []
    for stage in stages:
        measured = [scene[stage] for scene in found if stage in scene]
        means = [mean_estimate([getattr(agreement, name) for agreement in measured]) for name in MEASURES]
        rows.append((stage, *(cell(mean, 3) for mean in means)))
    return Table('Agreement of spatial attention and Grad-CAM', ('stage', *MEASURES.values()), rows,
                 (f'Means over {len(found)} held-out simulated scenes with a map, over the cells that the LiDAR has '
                  'seen. Brackets: 95 % interval, scenes resampled.',
                  'Two unrelated maps have correlations of 0 and an IoU of 0.05.'))


def write_gradcam(networks: Networks, scenes: int, settings: RunSettings) -> RunOutput:
    """Measure on `scenes` held-out scenes; writes `gradcam.md`, `.json` and `.png`. Raises ConfigurationError."""
    settings.check_held_out()
    config = networks.configs[0][1]
    with settings.new_bar('explanations', scenes, 'scene') as bar:
        found = stage_agreements(config, settings.first_seed, scenes, settings.cache, networks.lookahead, bar.update)
    report = Report(settings.provenance(networks.files), [agreement_table(found)], {'agreement': found})
    written = report.write(settings.out, 'gradcam')
    picture = example(config, settings.first_seed, settings.cache, settings.out / 'gradcam.png', networks.lookahead)
    return RunOutput(report.markdown(), [*written, picture])
