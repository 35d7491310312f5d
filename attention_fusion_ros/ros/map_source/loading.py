# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading the file of roads in a thread of its own: a region takes longer than callbacks may wait."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.maps.config import MapSourceConfig
from attention_fusion_ros.maps.source import MapSource

WAIT_S = 5.0  # of the configure transition; what takes longer is read while the node runs


class Loader:
    """Makes the map source of a configuration."""

    def __init__(self, config: MapSourceConfig):
        self._outcome: Future[MapSource] = Future()
        self._problem: InputError | None = None
        threading.Thread(target=self._run, args=(config,), name='roads', daemon=True).start()

    def _run(self, config: MapSourceConfig) -> None:
        try:
            self._outcome.set_result(MapSource.from_file(config))
        except BaseException as error:
            self._outcome.set_exception(error)

    @property
    def problem(self) -> InputError | None:
        """Why `now` has nothing, where that is not going to change."""
        return self._problem

    def wait(self, seconds: float = WAIT_S) -> MapSource | None:
        """The map source, None when it takes longer. Raises ConfigurationError, or whatever went wrong."""
        try:
            return self._outcome.result(seconds)
        except NotYet:
            if self._outcome.done():
                raise
            return None

    def now(self) -> MapSource | None:
        """The map source, None while it is read, or when it could not be: then there is a `problem`."""
        try:
            return self.wait(0.0)
        except Exception as error:
            text = str(error) if isinstance(error, ConfigurationError) else f'{type(error).__name__}: {error}'
            what, _, remedy = text.partition(' Remedy: ')
            self._problem = InputError('map_unusable', what,
                                       f"{remedy or 'correct it'}; then configure the node again.")
            return None
