"""A process that has given up the network, and the server that does so before it serves: real system calls."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from federated_training.workshop.sandbox import network
from federated_training.workshop.sandbox.confine import ConfinementError
from federated_training.workshop.sandbox.filter import supported
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.skipif(not supported(), reason="the filter is for 64-bit Linux")

PROBE = """
import ctypes, errno, json, os, socket, subprocess, sys
def refused(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def system_call(number):
    if ctypes.CDLL(None, use_errno=True).syscall(number, 2, 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
def tries():
    found = {name: refused(lambda name=name: socket.socket(getattr(socket, name)))
             for name in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_VSOCK")}
    found |= {
        "AF_PACKET": refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "io_uring": refused(lambda: system_call(425)),
        "x32": refused(lambda: system_call(SOCKET | 1 << 30)),
        "pair": refused(socket.socketpair), "pipe": refused(os.pipe), "file": refused(lambda: open("/dev/null")),
    }
    return found
"""
CHILD = "print(json.dumps(tries()))"
PARENT = """
listener = socket.create_server(("127.0.0.1", 0))
caller = socket.create_connection(listener.getsockname())
from federated_training.workshop.sandbox.network import give_up_network
give_up_network()
own = tries()
child = json.loads(subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, check=True).stdout)
taken, _ = listener.accept()
caller.send(b"x")
print(json.dumps({"own": own, "child": child, "heard": taken.recv(1).decode()}))
"""


def test_no_socket_of_any_kind_can_be_opened_and_what_is_open_works_on() -> None:
    """Neither by the process nor by a program that it starts; a listener goes on to accept; pipes and files remain."""
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    probe = f"SOCKET = {number}\n{PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", probe + PARENT, probe + CHILD],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heard"] == "x"
    for who in ("own", "child"):
        works = {name for name, answer in found[who].items() if answer == "done"}
        assert works == {"pair", "pipe", "file"}, found
        assert {found[who][name] for name in set(found[who]) - works} == {"EPERM"}


def test_the_server_gives_the_network_up_before_it_says_that_it_listens(tmp_path: Path) -> None:
    """So there is no run of the workshop in its container that has one."""
    path = tmp_path / "socket"
    command = [sys.executable, "-m", "federated_training.workshop.server", "--socket", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "listens at" in server.stderr.readline()
        facts = dict(line.split(":\t") for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
                     if line.startswith(("NoNewPrivs", "Seccomp:")))  # fmt: skip
        assert path.is_socket() and facts == {"NoNewPrivs": "1", "Seccomp": "2"}
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0


def test_where_it_cannot_be_given_up_nothing_is_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence and exit code 1; the signals' handlers are as they were."""
    from federated_training.workshop import server as workshop_server

    monkeypatch.setattr(network, "supported", lambda: False)
    with pytest.raises(ConfinementError):
        network.give_up_network()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    assert workshop_server.main(["--socket", str(tmp_path / "socket")]) == 1
    assert handlers == {number: signal.getsignal(number) for number in handlers}
    assert "The network can only be given up on 64-bit Linux" in capsys.readouterr().err
