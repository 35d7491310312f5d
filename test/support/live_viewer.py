# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A viewer of the Foxglove WebSocket protocol, small enough to read: RFC 6455 without extensions, one thread."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MESSAGE, CLOCK = 1, 2


@dataclass(frozen=True)
class Received:
    topic: str
    stamp_ns: int
    message: Any


class Viewer:
    """Connects, and reads what the server offers. Messages are decoded by the definitions that it sends."""

    def __init__(self, port: int, subprotocol: str = 'foxglove.sdk.v1', timeout_s: float = 20.0):
        self._socket = socket.create_connection(('127.0.0.1', port), timeout=timeout_s)
        self._timeout_s = timeout_s
        self._buffer = b''
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall((f'GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: '
                              f'Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n'
                              f'Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n').encode())
        while b'\r\n\r\n' not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b'\r\n\r\n')
        assert b' 101 ' in head.partition(b'\r\n')[0], head
        self.info: dict[str, Any] = {}
        self.channels: dict[str, dict[str, Any]] = {}
        self.clock_ns: list[int] = []
        self._stores: dict[str, Any] = {}
        self._subscriptions: dict[int, str] = {}
        self.closed = False

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait_for(self, *topics: str) -> None:
        """Until the server offers these topics."""
        self._until(lambda: set(topics) <= set(self.channels), f'topics {topics}')

    def subscribe(self, *topics: str) -> None:
        self.wait_for(*topics)
        wanted = []
        for topic in topics:
            number = len(self._subscriptions) + 1
            self._subscriptions[number] = topic
            wanted.append({'id': number, 'channelId': self.channels[topic]['id']})
        self._send(TEXT, json.dumps({'op': 'subscribe', 'subscriptions': wanted}).encode())

    def messages(self, until: Any, what: str = 'messages') -> list[Received]:
        """Everything that comes until `until(messages)` is true, or the server closes."""
        found: list[Received] = []
        self._until(lambda: until(found) or self.closed, what, found)
        return found

    def _until(self, condition: Any, what: str, found: list[Received] | None = None) -> None:
        end = time.monotonic() + self._timeout_s
        while not condition():
            assert time.monotonic() < end, f'no {what}; so far {len(found or ())} messages of {list(self.channels)}'
            self._take(*self._frame(), [] if found is None else found)

    def _take(self, kind: int, data: bytes, found: list[Received]) -> None:
        if kind == TEXT:
            content = json.loads(data)
            if content['op'] == 'serverInfo':
                self.info = content
            elif content['op'] == 'advertise':
                self.channels.update({channel['topic']: channel for channel in content['channels']})
        elif kind == BINARY and data[0] == MESSAGE:
            number, stamp_ns = struct.unpack_from('<IQ', data, 1)
            topic = self._subscriptions[number]
            found.append(Received(topic, stamp_ns, self._decode(topic, data[13:])))
        elif kind == BINARY and data[0] == CLOCK:
            self.clock_ns.append(struct.unpack_from('<Q', data, 1)[0])
        elif kind == PING:
            self._send(PONG, data)
        elif kind == CLOSE:
            self.closed = True

    def _decode(self, topic: str, data: bytes) -> Any:
        """By the definition that came with the topic, not by one that is known here."""
        channel = self.channels[topic]
        assert (channel['encoding'], channel['schemaEncoding']) == ('cdr', 'ros2msg')
        if topic not in self._stores:
            self._stores[topic] = get_typestore(Stores.EMPTY)
            self._stores[topic].register(get_types_from_msg(channel['schema'], channel['schemaName']))
        return self._stores[topic].deserialize_cdr(data, channel['schemaName'])

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        assert first & 0x80, 'fragments are not read here'
        size = second & 0x7f
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), 'big')
        return first & 0x0f, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _receive(self) -> None:
        more = self._socket.recv(1 << 20)
        assert more, f'the server has hung up: {self._buffer[:200]!r}'
        self._buffer += more

    def _send(self, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, 'big')
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | kind]) + size + mask + masked)
