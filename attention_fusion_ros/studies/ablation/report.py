# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The comparison of attention mechanisms from rows to tables, JSON and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from attention_fusion_ros.errors import ConfigurationError
from attention_fusion_ros.evaluation.run_settings import ProgressBar, RunOutput, RunSettings
from attention_fusion_ros.evaluation.tables import Report
from attention_fusion_ros.studies.ablation import run, table
from attention_fusion_ros.studies.ablation.cost import network_costs
from attention_fusion_ros.studies.ablation.plot import dots
from attention_fusion_ros.studies.ablation.rows import HYPOTHESES, chosen

LATENCY_RUNS = 20


def write_ablation(row_keys: Sequence[str], seeds: int, schedule_settings: Mapping[str, str],
                   settings: RunSettings) -> RunOutput:
    """Train and score the rows (all when there are none); writes `ablation.md`, `.json` and `.png`.

    schedule_settings: name -> value as text. Resumes from what is in `settings.out`. Raises ConfigurationError.
    """
    schedule, rows = run.schedule_with(schedule_settings), chosen(list(row_keys))
    if seeds < 1:
        raise ConfigurationError('--ablation-seeds must be at least 1')

    def sample_bar(title: str, total: int) -> AbstractContextManager[ProgressBar]:
        return settings.new_bar(title, total, 'sample')
    pools = run.prepare(schedule, settings.cache, settings.workers, sample_bar)
    with settings.new_bar('trainings', len(rows) * seeds, 'run') as bar:
        results = run.train_rows(rows, seeds, schedule, pools, settings.out, settings.workers, bar.update)
    with settings.new_bar('costs', len(rows), 'network') as bar:
        costs = network_costs({row.key: run.full_size(row) for row in rows}, LATENCY_RUNS, bar.update)
    compared = run.compared(rows, results, costs)
    notes = table.notes(compared, schedule.describe(), seeds)
    tables = [table.main_table(compared, notes), table.change_table(compared),
              table.hypothesis_table(compared, HYPOTHESES)]
    report = Report(settings.provenance(), tables, {'schedule': schedule, 'results': results, 'costs': costs})
    written = report.write(settings.out, 'ablation')
    return RunOutput(report.markdown(), [*written, dots(compared, settings.out / 'ablation.png')])

