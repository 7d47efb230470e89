"""The network between two parts in a test's hands: TCP doors on the loopback that cut, hold and delay what passes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST, as a network that loses a connection does."""


class Door:
    """Listens on `port` and forwards to `target`, both on 127.0.0.1. Made by `Network.door`; for any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, target: int) -> None:
        self.port, self.target = port, target
        self._loop = loop
        self._shut = False
        self._delay = 0.0
        self._asks, self._answers = asyncio.Event(), asyncio.Event()
        self._asks.set()
        self._answers.set()
        self._open: set[asyncio.StreamWriter] = set()

    # ------------------------------------------------------------ for tests
    def cut(self) -> None:
        """Reset every connection, and every new one, until `mend`."""
        self._do(self._cut)

    def hold(self, *, asks: bool = True, answers: bool = True) -> None:
        """Let nothing through in these directions until `mend`; nothing is lost, as TCP sends it again."""

        def change() -> None:
            for way, held in ((self._asks, asks), (self._answers, answers)):
                if held:
                    way.clear()

        self._do(change)

    def slow(self, seconds: float) -> None:
        """Delay every 64 KiB by so long, in both directions, until `mend`."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def reset(self) -> None:
        """Reset every connection; what was held is lost. New ones are let in as before."""
        self._do(self._reset)

    def mend(self) -> None:
        """Everything passes again, at once."""
        self._do(self._mend)

    # ------------------------------------------------------------ on the loop
    def _do(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(PATIENCE), "the network's thread hangs"

    def _cut(self) -> None:
        self._shut = True
        self._reset()

    def _reset(self) -> None:
        for writer in self._open:
            _reset(writer)

    def _mend(self) -> None:
        self._shut, self._delay = False, 0.0
        self._asks.set()
        self._answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its end."""
        if self._shut:
            _reset(writer)
            return
        try:
            reader_in, writer_in = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, writer_in}
        ways = [
            asyncio.create_task(self._carry(reader, writer_in, self._asks)),
            asyncio.create_task(self._carry(reader_in, writer, self._answers)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._open -= {writer, writer_in}
            writer.close()
            writer_in.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await gate.wait()
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Network:
    """The doors of one test, all served by one thread."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def door(self, target: int) -> Door:
        """A door to `target`, which may begin to listen later."""
        return asyncio.run_coroutine_threadsafe(self._listen(target), self._loop).result(10)

    async def _listen(self, target: int) -> Door:
        door = Door(self._loop, free_port(avoid={target}), target)
        self._servers.append(await asyncio.start_server(door.serve, "127.0.0.1", door.port))
        return door

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        """Close every door."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
