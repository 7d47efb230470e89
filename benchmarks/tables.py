"""The tables of benchmarks.all.DOCUMENTS, made from the JSON that benchmarks.all keeps.

A document has marks: what stands between `<!-- figures: NAME -->` and `<!-- end -->` is replaced by the table NAME.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

from benchmarks import targets
from benchmarks.cells import cell, grid, measured_by, mid, number, ratio, wrapped
from benchmarks.convergence import table as convergence
from benchmarks.robust import table as robust
from benchmarks.scale import FIGURES as GROWTH
from benchmarks.versus import FIGURES as AGAINST
from mainstem.protocol.encodings import ENCODINGS

Told = Mapping[str, Any]
"""One kept result."""

MARK = re.compile(r"(<!-- figures: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(document: str, kept: Mapping[str, Told]) -> str:
    """The document with its tables made anew; raises KeyError for a mark that names no table."""
    return MARK.sub(lambda found: f"{found[1]}\n{made(found['name'], kept)}\n\n{found[3]}", document)


def made(name: str, kept: Mapping[str, Told]) -> str:
    """One table with what measured it; a sentence where nothing did."""
    if name in TARGETS:
        return TARGETS[name](kept)
    if name not in kept:
        return "Not measured yet."
    return f"{measured_by(kept[name])}\n\n{TABLES[name](kept[name])}"


def against(told: Told) -> str:
    """Each figure of ours beside Flower's; behind them Kafka's floor, and ours with changes encoded both ways."""
    ours, theirs = told["runs"]["mainstem"], told["runs"]["flower"]
    alone = told["runs"].get("floor")
    encoded = {name: runs for name, runs in told["runs"].items() if name in ENCODINGS}
    rows = []
    for label, (figure, unit) in AGAINST.items():
        cells = [cell(ours, figure, unit), cell(theirs, figure, unit)]
        if cells != ["", ""]:
            floor = [cell(alone, figure, unit)] if alone else []
            more = [[cell(runs, figure, unit), ratio(runs, theirs, figure)] for runs in encoded.values()]
            rows.append([label, *cells, ratio(ours, theirs, figure), *floor, *chain.from_iterable(more)])
    version = f"Flower {told['flower']}"
    heads = ["median (lowest to highest)", "Mainstem", version, "Flower / ours", *(["Kafka alone"] if alone else [])]
    return grid([*heads, *chain.from_iterable((f"ours, {name}", f"Flower / {name}") for name in encoded)], rows)


def digits(told: Told) -> str:
    """As against, and what became of the model."""
    sides = told["runs"].values()
    apart = max(run["difference"] for kept in sides for run in kept)
    accuracy = " and ".join(f"{mid(kept, 'accuracy'):.4f}" for kept in sides)
    return (
        f"{against(told)}\n\nAccuracy on the test images: {accuracy}; the final weights differ by at most {apart:.1e}."
    )


def aggregation(told: Told) -> str:
    """GB/s and seconds of each way."""
    rows = [[name, cell(kept, "rate"), cell(kept, "seconds")] for name, kept in told["runs"].items()]
    difference = f"Largest relative difference from NumPy's float64 mean: {told['largest_difference']:.1e}."
    return f"{grid(['', 'GB/s of updates', 'seconds'], rows)}\n\n{difference}"


def recovery(told: Told) -> str:
    """The killed round beside the undisturbed one."""
    killed, undisturbed = told["runs"]["killed"], told["runs"]["undisturbed"]
    rows = [
        ["from `kill -9` to the round's commit", cell(killed, "after_kill")],
        ["the killed round", cell(killed, "seconds")],
        ["the same round undisturbed", cell(undisturbed, "seconds")],
    ]
    again = sum(run["sent_again"] for run in killed)
    hashes = len({run["sha256"] for run in [*killed, *undisturbed]})
    return (
        f"{grid(['', 'seconds'], rows)}\n\nUpdates that clients sent again: {again}. Different final SHA-256: {hashes}."
    )


def scale(told: Told) -> str:
    """A column a number of clients."""
    columns = [
        f"{int(count):,} clients, " + ("a reader each" if int(count) <= told["own_readers_up_to"] else "shared readers")
        for count in told["runs"]
    ]
    rows = [
        [label, *(cell(kept, figure, unit) for kept in told["runs"].values())]
        for label, (figure, unit) in GROWTH.items()
    ]
    return grid(["", *columns], rows)


def stragglers(told: Told) -> str:
    """Seconds and whose updates."""
    rows = [
        [name, cell(kept, "total"), cell(kept, "accepted"), cell(kept, "slow")] for name, kept in told["runs"].items()
    ]
    return grid(["", "seconds in all", "updates accepted", "of the slow clients"], rows)


def plain(figures: Mapping[str, tuple[str, str, float]], told: Told) -> str:
    """One figure a row: label -> (side, figure, unit)."""
    rows = [[label, cell(told["runs"][side], figure, unit)] for label, (side, figure, unit) in figures.items()]
    return grid(["", "median (lowest to highest)"], rows)


def memory(told: Told) -> str:
    """Start, stop, and the memory of each process."""
    (used,) = told["runs"]["memory"][-1:]
    parts = ", ".join(f"{name} {number(value)}" for name, value in used.items() if name != "total")
    starts = plain(
        {
            "seconds until the broker is ready": ("broker", "ready", 1),
            "seconds until the platform is ready": ("platform", "ready", 1),
            "seconds to stop": ("platform", "stop", 1),
            "memory at rest, MB": ("memory", "total", 1),
        },
        told,
    )
    return f"{starts}\n\n{wrapped(f'Memory by process, MB: {parts}.')}"


def demo(told: Told) -> str:
    """Every stage."""
    (runs,) = told["runs"].values()
    stages = [name for name, value in runs[0].items() if isinstance(value, float)]
    rows = [["seconds in all" if name == "seconds" else name, cell(runs, name)] for name in stages]
    hashes = len({run["sha256"] for run in runs})
    return f"{grid(['', 'seconds, and accuracy'], rows)}\n\nDifferent final SHA-256: {hashes}."


PROOFS = {
    "seconds": ("verify", "seconds", 1.0),
    "GB/s of updates": ("verify", "rate", 1.0),
    "peak memory, MB": ("verify", "memory", 1e6),
}

ROUNDS = {
    "seconds of the first round": ("rounds", "first", 1.0),
    "seconds of a later round": ("rounds", "later", 1.0),
    "seconds until a new model is on all clients": ("rounds", "spreading", 1.0),
    "the broker alone with a round's bytes, seconds": ("floor", "first", 1.0),
    "peak memory of the aggregator, MB": ("rounds", "aggregator_memory", 1e6),
}

LARGE = {
    "the model's file, MB": ("large", "file", 1.0),
    "seconds to register it": ("large", "register", 1.0),
    "seconds of deployment, Jobs' start and two rounds": ("large", "train", 1.0),
    "seconds to download the result": ("large", "download", 1.0),
    "peak memory of the web server, MB": ("large", "web", 1.0),
    "peak memory of the launcher, MB": ("large", "launchers", 1.0),
    "peak memory of the aggregator, MB": ("large", "aggregator", 1.0),
    "peak memory of the broker, MB": ("large", "kafka", 1.0),
    "peak memory of a process that trains or builds it, MB": ("large", "model", 1.0),
}

TARGETS: Mapping[str, Callable[[Mapping[str, Told]], str]] = {"targets": targets.table, "five": targets.five}
"""Tables of several benchmarks."""

TABLES: Mapping[str, Callable[[Told], str]] = {
    "rounds": partial(plain, ROUNDS),
    "rounds-350MB": partial(plain, ROUNDS),
    "platform": memory,
    "large": partial(plain, LARGE),
    "demo": demo,
    "grpc-250KB": against,
    "grpc-5MB": against,
    "grpc-50MB": against,
    "superlink": against,
    "digits": digits,
    "aggregation": aggregation,
    "proofs": partial(plain, PROOFS),
    "recovery": recovery,
    "scale-10-100": scale,
    "scale-1000": scale,
    "stragglers": stragglers,
    "robust": robust.made,
    "convergence": convergence.made,
}
