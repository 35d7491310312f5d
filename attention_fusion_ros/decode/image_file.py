# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the headers of PNG and JPEG files say, read without decoding them."""

from __future__ import annotations

from collections.abc import Iterator

PNG_SIGNATURE, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
PNG_GREY, PNG_RGB = 0, 2  # colour types (PNG specification, 11.2.2)
JPEG_SIGNATURE, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
# JPEG frame headers SOF0 to SOF15, without DHT, JPG and DAC, which share their range (ITU-T T.81, table B.1).
JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def png_size(file: bytes) -> tuple[int, int] | None:
    """Width and height from IHDR, which comes first (PNG specification, 11.2.2); None where it is cut off."""
    if len(file) < 24:
        return None
    return int.from_bytes(file[16:20], 'big'), int.from_bytes(file[20:24], 'big')


def png_complete(file: bytes) -> bool:
    """Whether the chunks lead to the last one within the file (PNG specification, 5.3).

    A decoder may take the memory that a chunk claims before it looks for the data: OpenCV 4.14 does, up to 4 GiB.
    """
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(file):
        if file[at + 4:at + 8] == b'IEND':
            return True
        at += 12 + int.from_bytes(file[at:at + 4], 'big')
    return False


def png_transparent_value(file: bytes) -> tuple[int, ...] | None:
    """The grey value or (r, g, b), at 8 or 16 bit, of transparent pixels by the chunk tRNS (PNG specification, 11.3.1).

    None where there is none, for palettes (whose entries have an alpha each), and for files that are no PNG.
    """
    if not file.startswith(PNG_SIGNATURE) or len(file) < 26 or file[25] not in (PNG_GREY, PNG_RGB):
        return None
    bits, count = file[24], 1 if file[25] == PNG_GREY else 3
    for name, data in _png_chunks(file):
        if name == b'IDAT':
            return None
        if name == b'tRNS' and len(data) == 2 * count:
            values = (int.from_bytes(data[i:i + 2], 'big') & (1 << bits) - 1 for i in range(0, len(data), 2))
            # Fewer bits than 8 are decoded to 8.
            return tuple(value * 255 // ((1 << bits) - 1) if bits < 8 else value for value in values)
    return None


def _png_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(file):
        length = int.from_bytes(file[at:at + 4], 'big')
        yield file[at + 4:at + 8], file[at + 8:at + 8 + min(length, 64)]
        at += 12 + length


def jpeg_size(file: bytes) -> tuple[int, int] | None:
    """Width and height from the first frame header; None where there is none. Raises ValueError for a broken file."""
    at = _jpeg_frame(file)
    if at is None:
        return None
    return int.from_bytes(file[at + 7 : at + 9], 'big'), int.from_bytes(file[at + 5 : at + 7], 'big')


def jpeg_scans(file: bytes) -> int:
    """How often a decoder passes over the image: markers SOS. In coded data FF is never followed by DA (B.1.1.5)."""
    return file.count(b'\xff\xda')


def jpeg_chroma_block(file: bytes) -> tuple[int, int] | None:
    """(rows, columns) of pixels that share a colour: (2, 2) in 4:2:0, (1, 2) in 4:2:2; None for files without colour.

    By the sampling factors of the components (ITU-T T.81, B.2.2 and A.1.1).
    """
    at = _jpeg_frame(file) if file.startswith(JPEG_SIGNATURE) else None
    if at is None or at + 19 > len(file) or file[at + 9] != 3:
        return None
    factors = [divmod(file[at + 11 + 3 * i], 16) for i in range(3)]  # horizontal, vertical
    (luma_h, luma_v), (chroma_h, chroma_v) = factors[0], factors[1]
    return max(luma_v // max(chroma_v, 1), 1), max(luma_h // max(chroma_h, 1), 1)


def _jpeg_frame(file: bytes) -> int | None:
    """Where the first frame header is, found by walking the marker segments (ITU-T T.81, B.1.1)."""
    at = 2
    while at + 9 <= len(file):
        if file[at] != 0xFF:
            raise ValueError('a JPEG marker is missing')
        marker = file[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in JPEG_FRAME_HEADERS:
            return at
        elif 0xD0 <= marker <= 0xD9 or marker == 0x01:  # markers without a length
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(file[at + 2 : at + 4], 'big'))
    return None
