"""Show what becomes of a site's own model in a federation, tensor by tensor.

MODEL is the site's: a .keras file, a Keras JSON, or a width such as 0.5 (of a run with adapt slice). Each tensor fits,
or it is sliced (the leading part of the federation's is trained here), kept at the site, not at the site, or refused
with the reason. Without MODEL: the federation's own, with what stays at each site. Nothing is sent; the federation is
read from its log. The exit code is 1 where the model cannot take part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from mainstem.cli import source
from mainstem.cli.output import Output, UsageError
from mainstem.errors import ConfigError
from mainstem.jobs.narrowing import narrowed
from mainstem.lineage.history import read_history
from mainstem.platform.home import Home
from mainstem.protocol import adapting
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import Opened, TensorSpec

HELP = "show what of a site's own model fits a federation, tensor by tensor"
WORKSHOP = (sys.executable, "-m", "federated_training.workshop")
"""Knows Keras, and opens what it is given confined."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("model", nargs="?", help="a .keras file, a Keras JSON, or a width from 0 to 1")
    parser.add_argument("--federation", required=True, help="the federation's id")
    parser.add_argument("--bootstrap", metavar="SERVERS", help="Kafka servers (default: those of the platform)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Show the tensors; whether the model can take part."""
    with source.opened(options, home) as (log, federation):
        opened = read_history(log, federation).opened
    specs, architecture = _site_model(options.model, opened)
    fits = adapting.compared(opened, specs, architecture)
    refusal = adapting.refusal(fits)
    if options.json:
        told = [{name: value for name, value in asdict(fit).items() if name not in ("number", "place")} for fit in fits]
        output.result(
            {
                "federation": federation,
                "adapt": opened.adaptation.adapt,
                "fits": not refusal,
                "why": refusal,
                "tensors": told,
            }
        )
    else:
        rows = [(fit.tensor, _size(fit.shape), _size(fit.site), adapting.WORDS[fit.state], fit.why) for fit in fits]
        title = f"federation {federation}, adapt {opened.adaptation.adapt}"
        output.table(title, ("tensor", "federation", "site", "there", "because"), rows)
        output.out.print(adapting.summary(fits))
        if refusal:
            output.say(f"this model cannot take part: {refusal}")
    return 1 if refusal else 0


def _size(shape: tuple[int, ...] | None) -> str | None:
    return None if shape is None else " x ".join(map(str, shape)) or "scalar"


def _site_model(model: str | None, opened: Opened) -> tuple[tuple[TensorSpec, ...], str]:
    """The tensors and the Keras JSON of the site's model; raises UsageError, ConfigError."""
    if model is None:
        return exchange(opened).model, opened.architecture
    try:
        width = float(model)
    except ValueError:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"{model} is no file and no width from 0 to 1") from None
        if path.suffix.lower() in (".keras", ".h5"):
            return _built({"kind": "keras", "file": f"model{path.suffix.lower()}"}, path)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{model} cannot be read as Keras JSON: {error}") from error
        return _built({"kind": "json", "config": text})
    return _built({"kind": "json", "config": narrowed(opened.architecture, width)})


def _built(request: dict[str, Any], file: Path | None = None) -> tuple[tuple[TensorSpec, ...], str]:
    with tempfile.TemporaryDirectory(prefix="mainstem-adapt-") as directory:
        if file is not None:
            (Path(directory) / str(request["file"])).write_bytes(file.read_bytes())
        asked = json.dumps({"op": "build", "dir": directory, **request})
        done = subprocess.run(WORKSHOP, input=asked, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        said = done.stderr.strip().splitlines()
        raise ConfigError(f"the workshop that knows Keras did not answer: {said[-1] if said else 'nothing'}") from error
    if "error" in answer:
        raise ConfigError(f"the site's model cannot be built: {answer['error'].get('message', answer['error'])}")
    return msgspec.convert(answer["tensors"], tuple[TensorSpec, ...]), answer["architecture"]
