"""Prove a run: make every version again from the updates that its record names, and compare.

It reads the federation's topics, or a file that `mainstem export` wrote, and believes nothing else. A version is
`proved`, or it `differs`, or what it was made of is `gone` from the log (see the federation's keep_updates). The exit
code is 1 where something differs, 2 for wrong arguments. Where records are signed it says by whom: each version's
record by the platform, each update by its site; what the platform has not signed is `ignored`.

The end of the log is compared with its witness, which is kept elsewhere (`mainstem witness --help`): a log that lost
its last records is as whole as one that never had them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import asdict

import msgspec

from mainstem.cli import source, witnessing
from mainstem.cli.output import Output
from mainstem.lineage import Proof, RunFile, verify
from mainstem.platform.home import Home

HELP = "prove every version of a run from its log, or from an exported file"
SHOWN = {"proved": "green", "differs": "bold red", "gone": "yellow", "ignored": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    source.arguments(parser)
    witnessing.argument(parser)


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Say each version's verdict as it is found."""
    began = time.monotonic()
    proofs: list[Proof] = []
    with source.opened(options, home) as (log, federation):
        manifest = log.manifest_sha256 if isinstance(log, RunFile) else None
        statement = witnessing.statement_for(options, home, output, log, federation)
        witness = None if statement is None else statement.witness
        for proof in log.proofs(witness) if isinstance(log, RunFile) else verify(log, federation, witness=witness):
            proofs.append(proof)
            _say(proof, output, quiet=options.json)
    states = Counter(proof.state for proof in proofs)
    seconds = time.monotonic() - began
    if options.json:
        output.result(
            {
                "federation": federation, "manifest_sha256": manifest,
                "witness": witness and msgspec.to_builtins(witness), "seconds": round(seconds, 3),
                **{state: states[state] for state in SHOWN}, "versions": [asdict(proof) for proof in proofs],
            }
        )  # fmt: skip
    else:
        if platform := next((proof.platform for proof in proofs if proof.platform), None):
            output.show(f"signed by the platform with the key {platform}")
        updates = sum(proof.updates for proof in proofs if proof.state == "proved")
        shown = [state for state in SHOWN if state != "ignored" or states[state]]
        told = ", ".join(f"{states[state]} {'differ' if state == 'differs' else state}" for state in shown)
        output.out.print(f"federation {federation}: {told}; {updates} updates counted ({seconds:.1f} s)")
        if witness is not None:
            output.show(f"compared with a witness of {witness}")
        if manifest is not None:
            output.out.print(f"sha256 of the manifest: {manifest}", soft_wrap=True)
    return 1 if states["differs"] else 0


def _say(proof: Proof, output: Output, *, quiet: bool) -> None:
    name = "control topic" if proof.version is None else f"version {proof.version}"
    if quiet:
        output.say(f"{name}: {proof.state}")
        return
    detail = f"  {proof.detail}" if proof.detail else f"  sha256 {proof.sha256}"
    if proof.sites:
        detail += "  signed: " + ", ".join(f"{client} by {site}" for client, site in sorted(proof.sites.items()))
    output.show(f"{name:<14}", (f"{proof.state:<8}", SHOWN[proof.state]), f"{proof.updates:>5} updates{detail}")
