"""A private key as a file that only its owner reads; it is made once, and never overwritten."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mainstem.errors import ConfigError
from mainstem.protocol.signing import SigningKey


def load_or_make(path: Path) -> tuple[SigningKey, bool]:
    """The key of that file, and whether this call made it. Raises ConfigError where others may read it, or it is none.

    Of several that make it at once one wins, and all get its key.
    """
    found = _load(path)
    if found is not None:
        return found, False
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        with open(descriptor, "wb") as handle:
            handle.write(SigningKey.generate().pem())
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(scratch, path)  # unlike a rename it overwrites nothing, and the file is whole when it appears
            made = True
        except FileExistsError:
            made = False
        finally:
            os.unlink(scratch)
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be written: {error.strerror}") from error
    loaded = _load(path)
    if loaded is None:
        raise ConfigError(f"the key {path} was deleted as soon as it was made")
    return loaded, made


def _load(path: Path) -> SigningKey | None:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} holds a private key, but others may read it: run `chmod 600 {path}`")
        return SigningKey.from_pem(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from error
