# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`train --bags`: each recording is labelled by the way it was driven, on an engine; trainings read the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from attention_fusion_ros.config import NodeConfig
from attention_fusion_ros.datasets.recorded import (
    LabelOptions,
    RecordingSummary,
    check_recording,
    label_recording,
    labelled_before,
    store_of,
)
from attention_fusion_ros.datasets.recorded_shards import RecordedStore
from attention_fusion_ros.engines.engine import Engine, Lost
from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.fleet.run import NewBar
from attention_fusion_ros.fleet.sources import RemoteSource, Source


@dataclass(frozen=True)
class LabelJob:
    """One recording for a worker."""

    source: Source
    cache: Path
    config: NodeConfig
    options: LabelOptions


def check_sources(sources: Sequence[Source], topics: Sequence[tuple[str, str]]) -> None:
    """Open the head of each that lies on this machine's file systems. Raises as `check_recording` does."""
    for source in sources:
        if not isinstance(source, RemoteSource):
            with source.local() as path:
                check_recording(path, topics)


def label_sources(sources: Sequence[Source], cache: Path, config: NodeConfig, options: LabelOptions, engine: Engine,
                  new_bar: NewBar) -> tuple[RecordedStore, list[RecordingSummary]]:
    """Every sweep of the recordings that the driven path labels, in their order, as `label_recordings` gives them.

    cache: a folder that all workers see. Raises as `label_recordings` does, and ConfigurationError for a worker that
    dies time and again.
    """
    jobs = [LabelJob(source, cache.absolute(), config, options) for source in sources]
    labelled: dict[int, Path] = {}
    with new_bar('label', len(jobs)) as bar:
        for number, folder in engine.run(label_source, jobs):
            if isinstance(folder, Lost):
                raise ConfigurationError(f'{sources[number].location} cannot be labelled: {folder.message}. Remedy: '
                                         'give the same command again; what was made is kept')
            labelled[number] = folder
            bar.update(1)
    return store_of([labelled[number] for number in range(len(jobs))], options)


def label_source(job: LabelJob) -> Path:
    """Label one of them, unless that has been done; returns the folder of its shards."""
    state = job.source.state()
    stem = PurePosixPath(job.source.location.rstrip('/')).stem
    before = labelled_before(stem, state, job.cache, job.config, job.options)
    if before is not None:
        return before
    with job.source.local() as path:
        return label_recording(path, job.cache, job.config, job.options, state)
