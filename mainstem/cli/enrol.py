"""Enrol this site at a platform: make its key here, and show by a one-time token that it may take part.

The token comes from the platform's page *Sites*, with this command. The private key is made in the folder of --out (a
file that only its owner reads) and never leaves it; the platform learns the public key, and a signature that proves
that this site holds the private one. Beside it `site.json` keeps the site's name and key and the platform's public key.
Nothing is overwritten. Where the answer was lost, the same command again goes on with the same key.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from mainstem.cli.output import Output, UsageError
from mainstem.errors import ConfigError
from mainstem.platform.home import Home
from mainstem.platform.key_file import load_or_make
from mainstem.protocol.enrolment import proof_of
from mainstem.protocol.signing import SITE_KEY_FILE
from mainstem.rest import DEFAULT, Api, ApiError

HELP = "make this site's key, and enrol it at a platform by a one-time token"

KEY, TOLD = "site.key", "site.json"
SECRET = "mainstem-site"  # noqa: S105 (a name)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own options."""
    parser.add_argument(
        "--token", required=True, help="the one-time token; `-` reads it from stdin, out of sight of ps"
    )
    parser.add_argument("--url", help="the platform's address (default: MAINSTEM_API, else the one that runs here)")
    parser.add_argument("--name", help="the site's name, to be sure; the token is for one name only")
    parser.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="(default: %(default)s)")


def run(options: argparse.Namespace, home: Home, output: Output) -> int:
    """Make the key, enrol, keep what the platform said, and say what to set."""
    folder: Path = options.out.absolute()
    key_file, told = folder / KEY, folder / TOLD
    if told.exists():
        raise UsageError(
            f"{told} tells of a site that is enrolled already: nothing is overwritten, so give another --out"
        )
    token = (sys.stdin.readline() if options.token == "-" else options.token).strip()  # noqa: S105
    running = home.running()
    address = options.url or os.environ.get("MAINSTEM_API") or (running.api if running else DEFAULT)
    key, fresh = load_or_make(key_file)
    body = {"token": token, "key": key.public, "proof": proof_of(key, token)}
    try:
        with Api(address) as api:
            site = api.post("sites/enrol/", body | ({"name": options.name} if options.name else {}))
    except ApiError as error:
        if fresh and error.status is not None and error.status < 500:  # it was refused: the key is nobody's
            key_file.unlink()
        raise
    shown = {
        "name": site["name"], "key": key.public, "platform": site["platform"], "url": address,
        "valid_until": site["valid_until"], "key_file": str(key_file),
    }  # fmt: skip
    _keep(told, shown)
    if options.json:
        output.result(shown)
        return 0
    until = f" until {site['valid_until']}" if site["valid_until"] else ""
    output.show(f"{site['name']} is enrolled at {address}{until}")
    output.show(f"  key       {key_file}  (keep it here: who has it is this site)")
    output.show(f"  public    {key.public}")
    output.show(f"  platform  {site['platform'] or 'signs nothing yet'}")
    output.show("For Jobs on this machine, and for `mainstem up` here:")
    output.show(f"  export {SITE_KEY_FILE}={key_file}")
    output.show("For Jobs on Kubernetes, whose launcher then needs MAINSTEM_JOB_SITE_SECRET=" + SECRET + ":")
    output.show(f"  kubectl create secret generic {SECRET} --from-file={KEY}={key_file}")
    return 0


def _keep(path: Path, shown: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(shown, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(
            f"the site is enrolled, but {path} cannot be written ({error.strerror}): run the same command again"
        ) from error
