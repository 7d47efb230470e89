"""Start the whole platform on this machine: Kafka, web UI and API, loggers, aggregator, launcher.

It runs until Ctrl-C, which stops all of it; starting it again finds everything as it was. With the variable
KML_CLOUD_BOOTSTRAP_SERVERS set, it works on that Kafka and starts none of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import threading
from typing import IO

from mainstem.cli.output import Output, Preparation
from mainstem.platform.home import Home
from mainstem.platform.supervisor import quietly
from mainstem.platform.up import Platform, Ready, UpOptions
from mainstem.runtime import gpu, logs
from mainstem.runtime.processes import end_child, start_child
from mainstem.runtime.program import Termination

DEMO_SECONDS = 10.0  # for the demo to end when the platform does

HELP = "start the whole platform on this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument("--port", type=int, metavar="N", help="of the web UI and API (default: 8000, or the next free)")
    parser.add_argument("--kafka-port", type=int, metavar="N", help="of Kafka (default: 9092 or the next free one)")
    parser.add_argument("--log-json", action="store_true", help="logs as JSON, one object a line")
    parser.add_argument("--demo", action="store_true", help="train three clients over five rounds on real digits")
    parser.add_argument("--once", action="store_true", help="with --demo: end after it, its JSON result last")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Start, watch, stop; the exit code is the demo's where there is one."""
    if options.once and not options.demo:
        output.error("--once belongs to --demo: it ends the platform after the demo")
        return 2
    home.make()
    logs.configure("platform", home=home.root, as_json=options.log_json or None, screen=False)
    logging.raiseExceptions = False  # a full disk would put a traceback on the terminal for each line that is not kept
    choice = UpOptions(port=options.port, kafka_port=options.kafka_port, log_json=options.log_json)
    result: str | None = None
    code = 0
    try:
        platform = Platform(home, choice, output.say, lambda: Preparation(output))
        with platform.up() as ready:
            quietly("telling where it is", lambda: _tell(ready, output))
            if options.demo:
                code, result = _demo(platform, ready, output, hold=options.once)
            if not options.once:
                platform.say("Ctrl-C stops all of it.")
                platform.watch()
    except (
        Termination
    ) as stopped:  # how a platform that stays up ends; but a demo that was to end by itself has no result
        code = stopped.code if options.once and result is None else code
    if result is not None and options.once:
        print(result, flush=True)
    return code


def _tell(ready: Ready, output: Output) -> None:
    web, kafka = ready.addresses.web, ready.addresses.kafka
    stored = ready.home.settings
    password = ready.secrets.values["MAINSTEM_ADMIN_PASSWORD"]
    login = f"admin / {password}  (shown this once; kept in {stored})"
    if not ready.secrets.new_password:
        login = f"admin / the password in {stored}"
    output.say(f"Mainstem is ready ({ready.seconds:.1f} s).")
    output.say(f"  web UI  {web}/\n  login   {login}\n  API     {web}/api/  (described at {web}/api/docs/)")
    output.say(f"  Kafka   {kafka}\n  logs    {ready.home.logs}")
    if (told := gpu.unused()) is not None:
        output.say(f"  GPU     {told}")
    if output.as_json:
        output.result({"web": web, "api": f"{web}/api/", "kafka": kafka, "home": str(ready.home.root)})


def _demo(platform: Platform, ready: Ready, output: Output, *, hold: bool) -> tuple[int, str | None]:
    """Run `mainstem demo` as a process of its own while the platform is watched; its exit code and JSON result."""
    command = [sys.executable, "-m", "mainstem.cli", "demo", "--json", "--home", str(ready.home.root)]
    command += ["--start-seconds", f"{ready.seconds:.3f}"]
    lines: list[str] = []
    with start_child(command, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        reader = threading.Thread(target=_collect, args=(demo.stdout, lines), daemon=True)
        reader.start()
        try:
            platform.watch(lambda: demo.poll() is not None)
        finally:
            end_child(demo, DEMO_SECONDS)
        reader.join(10)
    result = lines[-1] if demo.returncode == 0 and lines else None
    if result is not None and not hold:
        output.out.print_json(json.dumps(json.loads(result)))
    return demo.returncode, result


def _collect(stream: IO[bytes], lines: list[str]) -> None:
    lines.extend(line.decode().rstrip("\n") for line in stream)
