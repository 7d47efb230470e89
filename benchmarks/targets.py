"""The tables of what is aimed at, what was measured, and whether it is met: all of it, and five rows for README."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.cells import cell, grid, last_date, mid, number

Told = Mapping[str, Any]
Row = tuple[str, str, str, bool | None]
"""What, target, measured, whether it is met (None: nothing is aimed at)."""


def table(kept: Mapping[str, Told]) -> str:
    """Every row whose figures are there."""
    return _grid([row for name in ROWS if name in kept for row in _rows(name, kept[name])])


def five(kept: Mapping[str, Told]) -> str:
    """The first row of each of `FIVE`."""
    return _grid([next(_rows(name, kept[name])) for name in FIVE if name in kept])


def _grid(rows: list[list[str]]) -> str:
    return grid(["what", "target", "measured: median (lowest to highest)", "", "command and date"], rows)


def _rows(name: str, told: Told) -> Iterator[list[str]]:
    flower = " --flower-python DIR/bin/python" if "flower" in told else ""
    command = f"`.venv/bin/python -m benchmarks.all --only {name}{flower}`, {last_date(told)}"
    for what, target, measured, met in ROWS[name](told):
        yield [what, target, measured, {None: "", True: "met", False: "**missed**"}[met], command]


def platform(told: Told) -> Iterator[Row]:
    """Starts and memory."""
    runs = told["runs"]
    broker, start, used = runs["broker"], runs["platform"], mid(runs["memory"], "total")
    yield "the embedded broker to ready", "2 s", f"{cell(broker, 'ready')} s", mid(broker, "ready") <= 2
    yield "`./run.sh` warm to ready", "15 s", f"{cell(start, 'ready')} s", mid(start, "ready") <= 15
    yield "memory of the platform without trainers (PSS)", "900 MB", f"{number(used)} MB", used <= 900


def rounds(told: Told) -> Iterator[Row]:
    """Ten light clients."""
    runs = told["runs"]
    later, floor = mid(runs["rounds"], "later"), mid(runs["floor"], "first")
    measured = f"{cell(runs['rounds'], 'later')} s; the broker alone takes {number(floor)} s for the bytes"
    yield "a round of 10 clients with 250 KB that train nothing", "0.3 s", measured, later <= 0.3


def large_rounds(told: Told) -> Iterator[Row]:
    """Three light clients with a model of 350 MB."""
    runs = told["runs"]
    later, floor = mid(runs["rounds"], "later"), mid(runs["floor"], "first")
    measured = f"{number(later / floor)} times ({cell(runs['rounds'], 'later')} s)"
    yield (
        "a round of 3 clients with 350 MB, beside the broker alone with its bytes",
        "1.6 times",
        measured,
        (later / floor <= 1.6),
    )


def large(told: Told) -> Iterator[Row]:
    """What the backend needs of memory for a model of 350 MB."""
    runs = told["runs"]["large"]
    for name, what in (("web", "the web server"), ("launchers", "the launcher")):
        yield f"memory of {what}, a model of 350 MB", "400 MB", f"{cell(runs, name)} MB", mid(runs, name) <= 400


def demo(told: Told) -> Iterator[Row]:
    """Seconds and the accuracy."""
    runs = told["runs"]["demo"]
    measured = f"{cell(runs, 'seconds')} s, accuracy {cell(runs, 'accuracy')}"
    yield "the demo, warm: start, three Jobs, five rounds", "120 s", measured, mid(runs, "seconds") <= 120


def beside(
    what: str, factor: float, sooner: float | None, told: Told, side: str = "mainstem", least: float | None = None
) -> Iterator[Row]:
    """A round, the new model's way, and what it costs (at most so many times Flower's), as multiples of Flower's."""
    ours, theirs = told["runs"][side], told["runs"]["flower"]

    def row(label: str, figure: str, target: float | None, unit: float = 1.0, of: str = "s") -> Row:
        times = mid(theirs, figure) / mid(ours, figure)
        pair = f"{cell(ours, figure, unit)} {of} against {cell(theirs, figure, unit)} {of}"
        says = f"{times:.1f} times: {pair}" if times >= 1 else f"**a loss, {times:.2f} times**: {pair}"
        goal = f"{target:g} times" if target else ""
        return f"{what}: {label}", goal, says, None if target is None else times >= target

    yield row("a round", "rounds", factor)
    yield row("new model on all clients", "spreading", sooner)
    yield row("CPU a run, server side with the broker", "server_cpu", least)
    yield row("CPU a run, clients", "clients_cpu", None)
    yield row("peak memory, server side with the broker", "side_memory", least, 1e6, "MB")


def digits(told: Told) -> Iterator[Row]:
    """A real network."""
    ours, theirs = told["runs"]["mainstem"], told["runs"]["flower"]
    times = mid(theirs, "rounds") / mid(ours, "rounds")
    pair = f"{cell(ours, 'rounds')} s against {cell(theirs, 'rounds')} s"
    says = f"{times:.2f} times: {pair}" if times >= 1 else f"**a loss, {times:.2f} times**: {pair}"
    yield "a small Keras network, 10 clients, beside Flower: a round", "", says, None
    a, b = mid(ours, "accuracy"), mid(theirs, "accuracy")
    yield "the same: accuracy", "alike", f"{a:.4f} against {b:.4f}", abs(a - b) < 0.01


def aggregation(told: Told) -> Iterator[Row]:
    """Speed and exactness."""
    runs, difference = told["runs"], told["largest_difference"]
    numpy, copy = cell(runs["NumPy float64"], "rate"), cell(runs["memory copy"], "rate")
    says = f"{cell(runs['fold'], 'rate')} GB/s, {cell(runs['fold'], 'seconds')} s; NumPy {numpy} GB/s, copying {copy}"
    yield "the fold of 100 x 5 MB", "", says, None
    for name in ("median", "krum", "bulyan"):
        if name in runs:
            says = f"{cell(runs[name], 'seconds')} s, {cell(runs[name], 'rate')} GB/s"
            yield f"the same by {name}", "1.2 s", says, mid(runs[name], "seconds") <= 1.2
    yield "the same: difference from NumPy's float64", "1e-6", f"{difference:.1e}", difference <= 1e-6


def recovery(told: Told) -> Iterator[Row]:
    """After kill -9."""
    killed, undisturbed = told["runs"]["killed"], told["runs"]["undisturbed"]
    beyond = mid(killed, "seconds") - mid(undisturbed, "seconds")
    says = f"{number(beyond)} s beyond the undisturbed round; kill to commit {cell(killed, 'after_kill')} s"
    what = f"aggregator killed in mid-round, {told['clients']} clients"
    yield what, "10 s", says, beyond <= 10
    again, hashes = sum(run["sent_again"] for run in killed), len({r["sha256"] for r in [*killed, *undisturbed]})
    yield f"{what}: updates sent again, different results", "0, 1", f"{again}, {hashes}", (again, hashes) == (0, 1)


def proofs(told: Told) -> Iterator[Row]:
    """Memory that does not grow with the run."""
    runs = told["runs"]["verify"]
    what = f"`mainstem verify` of {told['rounds']} rounds of {told['clients']} clients, {told['kilobytes'] >> 10} MB"
    yield what, "", f"{cell(runs, 'seconds')} s, peak memory {cell(runs, 'memory', 1e6)} MB", None


def growth(told: Told) -> Iterator[Row]:
    """Each number of clients."""
    limit = 3 * told["kilobytes"] * 1024 / 1e6 + 150
    for count, runs in told["runs"].items():
        yield f"a round of {int(count):,} clients, {told['kilobytes']} KB", "", f"{cell(runs, 'rounds')} s", None
        used = mid(runs, "aggregator_memory") / 1e6
        says = f"{cell(runs, 'aggregator_memory', 1e6)} MB"
        yield "the same: the aggregator's peak memory", f"{number(limit)} MB", says, used <= limit


def stragglers(told: Told) -> Iterator[Row]:
    """Buffered beside sync."""
    runs = told["runs"]
    sync, buffered = runs["sync"], runs["buffered, half"]
    slow = sum(run["slow"] for run in buffered) / sum(run["accepted"] for run in buffered)
    says = (
        f"{cell(buffered, 'total')} s against {cell(sync, 'total')} s; {slow:.1%} of its updates are the slow clients'"
    )
    yield f"{told['updates']} updates, a fifth of the clients ten times slower: buffered against sync", "", says, None


def _grpc(case: str, factor: float, **encoded: float) -> Callable[[Told], Iterator[Row]]:
    """Raw and, with the factor that each is to reach, encoded both ways."""

    def rows(told: Told) -> Iterator[Row]:
        yield from beside(f"{case}, beside Flower over gRPC", factor, 5, told, least=1)
        for name, times in encoded.items():
            if name in told["runs"]:
                yield from beside(f"{case} as {name} both ways, beside Flower over gRPC", times, 5, told, name, 1)

    return rows


ROWS: Mapping[str, Callable[[Told], Iterator[Row]]] = {
    "platform": platform,
    "large": large,
    "demo": demo,
    "rounds": rounds,
    "rounds-350MB": large_rounds,
    "grpc-250KB": _grpc("100 x 250 KB", 3, int8=5),
    "grpc-5MB": _grpc("100 x 5 MB", 2.2, int8=5, int4=8),
    "grpc-50MB": _grpc("10 x 50 MB", 3.5, int8=8),
    "superlink": lambda told: beside("4 x 250 KB, beside Flower's SuperLink", 20, None, told),
    "digits": digits,
    "proofs": proofs,
    "recovery": recovery,
    "scale-10-100": growth,
    "scale-1000": growth,
    "stragglers": stragglers,
    "aggregation": aggregation,
}

FIVE = ("demo", "rounds", "grpc-5MB", "recovery", "proofs")
"""Whose first figure README shows: from nothing to a model, a round, beside Flower, a crash, a proof."""
