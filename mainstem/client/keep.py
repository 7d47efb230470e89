"""What a client keeps from one update to its next: tensors by name, that never leave it and outlive its process.

Each update leaves a *generation* behind, named by the base that it was trained from. It is put down before the update
is published and confirmed after it; the one that it began with stays beside it. So whoever is killed anywhere in
between trains from the same base again, with what it had then, and comes to the same bytes. Older ones stay as far as
there is room for them: where Kafka was restored from an older copy, a client trains again from a base of long ago.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec
import numpy as np

from mainstem.errors import ConfigError, SpillError
from mainstem.protocol.messages import Opened, TensorSpec
from mainstem.protocol.weights import DTYPES, Tensor, bytes_of, size_of, specs_of, wire
from mainstem.runtime.disk import no_room

State = Mapping[str, Sequence[Tensor]]
"""Tensors by the name of who keeps them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A generation: the `seq` of the base whose update left it, None where there has been none yet."""

    seq: int | None
    state: State


NOTHING: Final = Kept(None, {})

GENERATIONS: Final = 64
"""So many generations a client keeps at most."""
ROOM: Final = 64 << 20
"""Bytes that all but the last training's and the one that it began with may take in files."""


class Keep(Protocol):
    """Where one client of one run keeps its generations."""

    def before(self, base: int, counted: int | None) -> Kept:
        """What a training from `base` begins with: the newest generation of an earlier base whose update was published.

        `counted` is the newest base from which the log counts an update of this client: up to there all were. Raises
        ConfigError where what is kept is not what was put down.
        """
        ...

    def put(self, base: int, state: State, began: Kept) -> None:
        """Put down what the update from `base` leaves, which began with `began`; raises SpillError."""
        ...

    def confirm(self, base: int) -> None:
        """The update from `base` is in the log; raises SpillError."""
        ...


class MemoryKeep:
    """Keeps generations as long as its process lives; those beside the newest two in `room` bytes. Implements `Keep`.

    A process may have a thousand clients, so that without a word no others are kept.
    """

    def __init__(self, room: int = 0) -> None:
        self._room = room
        self._kept: dict[int, State] = {}
        self._confirmed: set[int] = set()

    def before(self, base: int, counted: int | None) -> Kept:
        """See `Keep`."""
        found = _newest(self._kept, self._confirmed, base, counted)
        return NOTHING if found is None else Kept(found, self._kept[found])

    def put(self, base: int, state: State, began: Kept) -> None:
        """See `Keep`."""
        if state:
            self._kept[base] = state
            for seq in _dropped({seq: _nbytes(kept) for seq, kept in self._kept.items()}, base, began.seq, self._room):
                del self._kept[seq]
            self._confirmed &= self._kept.keys()

    def confirm(self, base: int) -> None:
        """See `Keep`."""
        if base in self._kept:
            self._confirmed.add(base)


def _newest(kept: Mapping[int, object], confirmed: set[int], base: int, counted: int | None) -> int | None:
    sent = (seq for seq in kept if seq in confirmed or (counted is not None and seq <= counted))
    return max((seq for seq in sent if seq < base), default=None)


def _dropped(sizes: Mapping[int, int], base: int, began: int | None, room: int) -> list[int]:
    """Which generations of these sizes in bytes go when one of `base`, which began with `began`, has been put down."""
    dropped = []
    for number, seq in enumerate(sorted(sizes.keys() - {base, began}, reverse=True), start=2):
        room -= sizes[seq]
        if room < 0 or number >= GENERATIONS:
            dropped.append(seq)
    return dropped


def _nbytes(state: State) -> int:
    return sum(tensor.nbytes for tensors in state.values() for tensor in tensors)


# ---------------------------------------------------------------- in files
class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file holds, and whose it is."""

    federation: str
    opening: str
    client: str
    base: int
    state: dict[str, tuple[TensorSpec, ...]]


_NAME: Final = re.compile(r"(\d{1,16})\.(new|kept)")
_MAGIC: Final = b"mainstem-kept-1\n"
_SIZE: Final = 2
"""Where in a file's mark its size stands."""
_LONGEST: Final = 64 << 20
"""Bytes of a header."""


class FileKeep:
    """A file a generation, in a directory of its client's own; those beside the newest two in `room` bytes. Implements
    `Keep`.

    `12.new` was put down, `12.kept` is confirmed. A file is its sha256, a header (JSON: federation, client, base,
    names, specs) and the tensors' bytes; it appears whole or not at all, and only its owner may read it. What was
    written or read last is held, and read again only where it has become another file.
    """

    def __init__(self, directory: Path, opened: Opened, client: str, room: int = ROOM) -> None:
        self._directory, self._room = directory / f"{opened.federation}-{client}", room
        self._held: tuple[tuple[int, ...], State] = (), {}
        self._whose = {"federation": opened.federation, "opening": opened.weights.update, "client": client}

    def before(self, base: int, counted: int | None) -> Kept:
        """See `Keep`."""
        files = dict(self._files())
        confirmed = {seq for seq, path in files.items() if path.suffix == ".kept"}
        found = _newest(files, confirmed, base, counted)
        if found is None:
            return NOTHING
        path = files[found]
        mark = _mark(path)
        if not mark or mark != self._held[0]:
            self._held = mark, self._read(path, found)
        return Kept(found, self._held[1])

    def put(self, base: int, state: State, began: Kept) -> None:
        """See `Keep`."""
        if not state:
            return
        header = _Header(base=base, state={name: _specs(kept) for name, kept in state.items()}, **self._whose)
        kept = self._directory / f"{base}.kept"  # an update of this base was published before: it stays confirmed
        path = kept if kept.exists() else kept.with_suffix(".new")
        self._write(path, msgspec.json.encode(header), state)
        self._held = _mark(path), state
        files = dict(self._files())
        sizes = {seq: mark[_SIZE] for seq, path in files.items() if (mark := _mark(path))}
        for seq in _dropped(sizes, base, began.seq, self._room):
            files[seq].unlink(missing_ok=True)

    def confirm(self, base: int) -> None:
        """See `Keep`."""
        with _writable(self._directory), contextlib.suppress(FileNotFoundError):
            (self._directory / f"{base}.new").replace(self._directory / f"{base}.kept")

    def _files(self) -> Iterator[tuple[int, Path]]:
        with contextlib.suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                if match := _NAME.fullmatch(path.name):
                    yield int(match[1]), path

    def _write(self, path: Path, header: bytes, state: State) -> None:
        digest = hashlib.sha256()
        with _writable(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            scratch = path.with_suffix(".part")
            scratch.unlink(missing_ok=True)
            with os.fdopen(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(_MAGIC + b"0" * 64 + b"\n")
                for piece in _pieces(header, state):
                    digest.update(piece)
                    file.write(piece)
                file.seek(len(_MAGIC))
                file.write(digest.hexdigest().encode())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _read(self, path: Path, base: int) -> State:
        try:
            with path.open("rb") as file:
                told, rest = file.readline(len(_MAGIC)), file.readline(66)
                size = os.fstat(file.fileno()).st_size - file.tell()
                digest, header = hashlib.sha256(), file.readline(_LONGEST)
                digest.update(header)
                claim = msgspec.json.decode(header, type=_Header)
                specs = [spec for group in claim.state.values() for spec in group]
                fine = told == _MAGIC and all(spec.dtype in DTYPES for spec in specs)
                if not fine or len(header) + sum(map(size_of, specs)) != size:
                    raise ValueError("its sizes do not add up")
                state = {name: [_tensor(file.read(size_of(s)), s, digest) for s in group]
                         for name, group in claim.state.items()}  # fmt: skip
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ConfigError(_unusable(path, str(error))) from error
        if digest.hexdigest().encode() + b"\n" != rest:
            raise ConfigError(_unusable(path, "it does not hash to its sha256"))
        mine = {**self._whose, "base": base}
        if other := next((name for name, value in mine.items() if getattr(claim, name) != value), None):
            raise ConfigError(_unusable(path, f"it is of another {other}: {str(getattr(claim, other))[:64]!r}"))
        return state


def _mark(path: Path) -> tuple[int, ...]:
    """What tells a file from another that took its place; it outlives a rename."""
    with contextlib.suppress(OSError):
        told = path.stat()
        return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns
    return ()


def _specs(tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return specs_of((str(number), tensor) for number, tensor in enumerate(tensors))


def _pieces(header: bytes, state: State) -> Iterator[bytes | memoryview]:
    yield header + b"\n"
    for tensors in state.values():
        yield from (bytes_of(wire(tensor)) for tensor in tensors)


def _tensor(data: bytes, spec: TensorSpec, digest: hashlib._Hash) -> Tensor:
    digest.update(data)
    little = np.dtype(spec.dtype).newbyteorder("<")
    return np.frombuffer(bytearray(data), little).reshape(spec.shape).astype(little.newbyteorder("="), copy=False)


def _unusable(path: Path, why: str) -> str:
    return (
        f"what this client kept, {path}, cannot be used: {why}. Bring the file back from a copy, or remove it: the "
        "client then begins anew with what the model's version 0 has in its place"
    )


@contextlib.contextmanager
def _writable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpillError(
            f"what this client keeps between rounds cannot be written to {directory}: "
            f"{no_room(error) or error.strerror}; make room there, or name another directory in FEDERATED_STATE"
        ) from error
