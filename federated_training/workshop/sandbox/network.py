"""Takes the network from the calling process and from all that it starts, for good: it can open no socket any more.

Containers of one pod share its network, so no manifest and no NetworkPolicy can close it to one of them alone; this
seccomp filter does. What is open stays open: a listening socket goes on to accept. Neither root nor a capability is
needed. Of io_uring the set-up is refused as well, since it makes sockets by itself, and so are the system calls of
other architectures, which have numbers of their own.
"""

from __future__ import annotations

import platform
from typing import Final

from federated_training.workshop.sandbox.confine import ConfinementError
from federated_training.workshop.sandbox.filter import ALLOW, EPERM, JEQ, JGE, RET, assembled, install, supported

_X32_FROM: Final = 1 << 30
_IO_URING_SETUP: Final = 425
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}


def program(machine: str) -> bytes:
    """The filter as classic BPF for `machine` (`platform.machine()`); `socketpair`, which reaches nobody, is left."""
    return assembled(
        machine,
        [
            (JGE, 2, 0, _X32_FROM),
            (JEQ, 1, 0, _SOCKET[machine]),
            (JEQ, 0, 1, _IO_URING_SETUP),
            (RET, 0, 0, EPERM),
            (RET, 0, 0, ALLOW),
        ],
    )


def give_up_network() -> None:
    """From now on this thread, and every thread and process that it starts, can open no socket of any kind.

    Call it while the process has one thread. Raises ConfinementError where the machine cannot do it.
    """
    if not supported():
        raise ConfinementError("The network can only be given up on 64-bit Linux (x86_64, aarch64).")
    try:
        install(program(platform.machine()))
    except OSError as error:
        raise ConfinementError(f"Giving up the network failed: {error.strerror}.") from error
