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
from mainstem.cli.where import data_servers
from mainstem.errors import ConfigError
from mainstem.platform.home import Home

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
        environment["DATA_BOOTSTRAP_SERVERS"] = data_servers(home)
    command = [sys.executable, "-m", f"inject_scripts.{options.script}", *words, *(["--json"] if options.json else [])]
    return subprocess.run(command, env=environment, check=False).returncode


def scripts() -> list[str]:
    """The names of the public scripts."""
    package = importlib.util.find_spec("inject_scripts")
    places = package.submodule_search_locations if package is not None else None
    return sorted(module.name for module in pkgutil.iter_modules(places or []) if module.name.startswith("inject_"))
