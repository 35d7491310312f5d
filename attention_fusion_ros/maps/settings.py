# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the map source, read: places in degrees, kinds of roads, the layout of the image."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from attention_fusion_ros.errors import ConfigurationError, InputError
from attention_fusion_ros.maps.config import ImageConfig, MapSourceConfig
from attention_fusion_ros.maps.frames import Utm, check_degrees
from attention_fusion_ros.maps.image_layout import ImageLayout
from attention_fusion_ros.maps.kinds import DEFAULT_KINDS, checked_kinds
from attention_fusion_ros.maps.map_position import AlignmentSettings

EXAMPLE = '"49.4431, 7.7689"'
ZONE = re.compile(r'(\d{1,2})\s*([NSns])')


class Degrees(NamedTuple):
    """A place on WGS84."""

    latitude: float  # degrees
    longitude: float
    height: float = math.nan  # m above the ellipsoid, nan where nobody says


def parse_degrees(text: str, what: str = 'a goal') -> Degrees:
    """"latitude, longitude[, height]" in degrees and m. Raises InputError: goal_malformed, near_pole."""
    parts = [part for part in re.split(r'[\s,]+', text.strip().strip('"\'')) if part]
    try:
        numbers = [float(part) for part in parts]
        if len(numbers) not in (2, 3) or not all(map(math.isfinite, numbers)):
            raise ValueError
        check_degrees(*numbers[:2])
    except InputError as error:
        if error.reason != 'bad_fix':
            raise
        raise InputError('goal_malformed', f"{what} '{text}' is no latitude and longitude in degrees.",
                         f'check the order (latitude first), as in {EXAMPLE}.') from error
    except ValueError as error:
        raise InputError('goal_malformed', f"{what} '{text}' is not two numbers (latitude and longitude in degrees).",
                         f'give it as {EXAMPLE}.') from error
    return Degrees(*numbers)


def parse_goals(text: str) -> tuple[Degrees, ...]:
    """Goals separated by semicolons, () for none. Raises InputError, see `parse_degrees`."""
    return tuple(parse_degrees(part) for part in text.split(';') if part.strip())


def kinds_of(config: MapSourceConfig) -> tuple[str, ...]:
    """The kinds of highway that count. Raises ConfigurationError."""
    named = tuple(part.strip() for part in config.kinds.split(',') if part.strip())
    return checked_kinds(named or DEFAULT_KINDS)


def datum_of(config: MapSourceConfig) -> Degrees | None:
    """The given datum. Raises ConfigurationError."""
    if not config.datum.strip():
        return None
    try:
        return parse_degrees(config.datum, 'the datum')
    except InputError as error:
        raise ConfigurationError(f"parameter 'datum': {error}") from error


def utm_of(config: MapSourceConfig) -> Utm | None:
    """The zone of position.utm_zone. Raises ConfigurationError."""
    text = config.position.utm_zone.strip()
    if not text:
        return None
    found = ZONE.fullmatch(text)
    try:
        if found is None:
            raise InputError('bad_fix', f"'{text}' is no UTM zone.", 'give its number and N or S for the hemisphere, '
                             'as in 32N.')
        return Utm(int(found[1]), found[2] in 'Nn')
    except InputError as error:
        raise ConfigurationError(f"parameter 'position.utm_zone': {error}") from error


def layout_of(image: ImageConfig) -> ImageLayout:
    """How the image is drawn. Raises ConfigurationError."""
    column, row = image.anchor
    return ImageLayout(image.resolution, (image.width, image.height), (column, row), image.orientation,
                       image.road_width, image.route_width, image.route_behind, image.layers)


def alignment_settings(config: MapSourceConfig) -> AlignmentSettings:
    """How well the position has to be known."""
    return AlignmentSettings(max_position_std=config.position.max_std,
                             max_heading_std=config.position.max_heading_std)


def check(config: Any) -> None:
    """Raises ConfigurationError for what does not fit together. Reads no file."""
    position = config.position
    kinds_of(config)
    layout_of(config.map)
    datum, utm = datum_of(config), utm_of(config)
    try:
        parse_goals(config.goal)
    except InputError as error:
        raise ConfigurationError(f"parameter 'goal': {error}") from error
    if position.source != 'fix' and position.coordinates == 'enu' and datum is None:
        raise ConfigurationError(f'position.source {position.source} with coordinates enu needs a datum. Remedy: set '
                                 f'datum to the origin of these coordinates, as in {EXAMPLE}')
    if position.source != 'fix' and position.coordinates == 'utm' and utm is None:
        raise ConfigurationError(f'position.source {position.source} with coordinates utm needs position.utm_zone. '
                                 'Remedy: set it, as in 32N')
    if position.source == 'odometry' and position.coordinates == 'ecef':
        raise ConfigurationError('position.source odometry cannot be earth-centred. Remedy: use position.source tf, or '
                                 'coordinates enu or utm')
    if position.source == 'tf' and not config.use_tf:
        raise ConfigurationError('position.source tf needs use_tf. Remedy: set use_tf to true')
    if config.publish_tf and position.source == 'tf' and config.frames.earth == config.frames.map:
        raise ConfigurationError(f"the transform '{config.frames.map}' -> '{config.frames.odom}' cannot be published "
                                 'and be the source of the position. Remedy: set publish_tf to false, or frames.earth '
                                 'to another frame')
