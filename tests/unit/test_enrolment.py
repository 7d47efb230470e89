"""The proof of a key's holder, and the file that keeps a site's key."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError
from mainstem.platform import key_file
from mainstem.protocol.enrolment import proof_of, proves
from mainstem.protocol.signing import HEADER, SigningKey, signed

OURS, THEIRS = SigningKey.generate(), SigningKey.generate()


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_proof_is_of_one_key_and_one_token(token: str, other: str) -> None:
    """The holder's signature over this token proves; another's, or one over another token, does not."""
    token, other = (text.encode("utf-8", "replace").decode() for text in (token, other))
    proof = proof_of(OURS, token)
    assert proves(OURS.public, token, proof)
    assert proves(OURS.public, other, proof) == (token == other)
    assert not proves(THEIRS.public, token, proof) and not proves(OURS.public, token, proof_of(THEIRS, token))


@given(st.text(max_size=300))
def test_any_text_is_no_proof(proof: str) -> None:
    """It is refused, and raises nothing."""
    assert not proves(OURS.public, "token", proof)


def test_a_records_signature_is_no_proof() -> None:
    """A signature over a record of any topic proves nothing, and a proof signs no record."""
    name, value = OURS.sign("mainstem", b"token")
    assert name == HEADER
    assert not signed({HEADER: value}, "mainstem enrolment", b"token", OURS.public)
    with pytest.raises(ConfigError, match="no public key"):
        proves("short", "token", "x")


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """However many start at once, all of them get the one key; its file is never overwritten."""
    path = tmp_path / "of" / "site.key"
    umask = os.umask(0)
    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: key_file.load_or_make(path), range(8)))
    finally:
        os.umask(umask)
    assert len({key.public for key, _ in made}) == 1 and sum(fresh for _, fresh in made) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    again, fresh = key_file.load_or_make(path)
    assert (again.public, fresh, path.read_bytes()) == (made[0][0].public, False, before)
    assert [file.name for file in path.parent.iterdir()] == ["site.key"]


def test_a_key_that_others_may_read_or_that_is_none(tmp_path: Path) -> None:
    """Refused with the way out, and left as it is."""
    path = tmp_path / "site.key"
    key_file.load_or_make(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"others may read it: run `chmod 600 {path}`"):
        key_file.load_or_make(path)
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(ConfigError, match=r"site\.key: this is no unencrypted private key"):
        key_file.load_or_make(path)
    assert path.read_text() == "not a key"
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be written"):
        key_file.load_or_make(Path("/proc/none/site.key"))
