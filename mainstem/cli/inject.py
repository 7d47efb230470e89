"""Inject samples and announce their stream, through the public injection scripts.

  mainstem inject --clients 3              real handwritten digits (inject_dummy_training_data)
  mainstem inject --script NAME ...        another script of inject_scripts
  mainstem inject -- --help                the script's own options

All options but these go to the script. It writes to the Kafka of the platform in this home unless --bootstrap or
DATA_BOOTSTRAP_SERVERS says otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pkgutil
import subprocess
import sys

from mainstem.cli.output import Output
from mainstem.cli.where import data_kafka
from mainstem.errors import ConfigError
from mainstem.platform.home import Home
from mainstem.runtime.endpoints import data_environ
from mainstem.runtime.processes import die_with_parent
from mainstem.runtime.program import handling

HELP = "inject samples and announce their stream"
DIGITS = "inject_dummy_training_data"
PASSES_ON = True
"""Options that this command does not know belong to the script."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.usage = "mainstem inject [-h] [--json] [--home HOME] [--script NAME] [SCRIPT OPTIONS]"
    parser.add_argument("--script", default=DIGITS, metavar="NAME", help="of inject_scripts (default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Run the script; its exit code."""
    if options.script not in scripts():
        raise ConfigError(f"--script {options.script[:60]!r} is no script's name; there are {', '.join(scripts())}")
    environment = dict(os.environ)
    words: list[str] = options.rest
    if "--help" not in words and "--bootstrap" not in words:
        environment |= data_environ(data_kafka(home))
    command = [sys.executable, "-m", f"inject_scripts.{options.script}", *words, *(["--json"] if options.json else [])]
    return _call(command, environment)


def _call(command: list[str], environment: dict[str, str]) -> int:
    """In our process group, so that a terminal's Ctrl-C reaches it: it says itself what became of its stream."""
    with subprocess.Popen(command, env=environment, preexec_fn=die_with_parent()) as script:  # noqa: PLW1509  system calls
        with handling(lambda number, frame: script.send_signal(number)):
            return script.wait()


def scripts() -> list[str]:
    """The names of the public scripts."""
    package = importlib.util.find_spec("inject_scripts")
    places = package.submodule_search_locations if package is not None else None
    return sorted(module.name for module in pkgutil.iter_modules(places or []) if module.name.startswith("inject_"))
