"""Template tags that show how a program does what a page shows: curl and Python, to copy."""

from __future__ import annotations

import json
import zlib
from typing import Any

from django import template

register = template.Library()


@register.inclusion_tag("components/use_api.html", takes_context=True)
def use_api(
    context: template.Context, method: str, address: str, body: Any = None, title: str = "Use the API for this"
) -> dict[str, Any]:
    """`{% use_api "GET" "/api/models/" %}`: the request as a curl command and as a Python program."""
    request = context.get("request")
    base = f"{request.scheme}://{request.get_host()}" if request is not None else "http://localhost:8000"
    return {
        "title": title,
        "id": f"api-{zlib.crc32(f'{method} {address}'.encode()):08x}",
        "curl": curl(base, method, address, body),
        "python": python(base, method, address, body),
    }


def curl(base: str, method: str, address: str, body: Any = None) -> str:
    """The request for a shell, which reads the token from `$TOKEN`."""
    verb = "" if method == ("GET" if body is None else "POST") else f"-X {method} "
    text = f'curl -s {verb}{_quoted(base + address)} \\\n  -H "Authorization: Token $TOKEN"'
    if body is not None:
        text += f" \\\n  -H 'Content-Type: application/json' \\\n  -d {_quoted(json.dumps(body, ensure_ascii=False))}"
    return text


def python(base: str, method: str, address: str, body: Any = None) -> str:
    """The request as a program with `requests`, which reads the token from the environment."""
    given = "" if body is None else f"    json={body!r},\n"
    return (
        "import os\nimport requests\n\n"
        f"answer = requests.{method.lower()}(\n"
        f"    {base + address!r},\n"
        '    headers={"Authorization": f"Token {os.environ[\'TOKEN\']}"},\n'
        f"{given}    timeout=60,\n)\n"
        "answer.raise_for_status()\n" + ("print(answer.json())" if method != "DELETE" else "print(answer.status_code)")
    )


def _quoted(text: str) -> str:
    """For a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"
