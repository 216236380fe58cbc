"""Listed clients as settings files have them: entries of `[[clients.known]]` with their grants.

The credential of a client is derived from its name. The secrets contain the mark that
tests/telemetry/test_logs.py looks for in the logs of the whole run.
"""

import json
from collections.abc import Iterable

from target import Credential

Fields = dict[str, str | int | list[str]]

READING: Fields = {"operations": ["read"]}
"""A grant of reads only, on everything."""


def credential_of(name: str) -> Credential:
    return Credential(f"CLIENT{name.upper()}", f"client-secret-that-must-not-be-told-{name}")


def known_client(name: str, *grants: Fields, **settings: str | int) -> str:
    """An entry for a settings file. `settings` add to the settings that follow from the client's
    name, or replace them. Without grants the client may do everything."""
    credential = credential_of(name)
    entry = {
        "name": name,
        "access_key_id": credential.access_key,
        "secret_access_key": credential.secret_key,
    } | settings
    lines = ["[[clients.known]]", *_lines(entry)]
    for grant in grants:
        lines += ["[[clients.known.grants]]", *_lines(grant)]
    return "\n".join(["", *lines, ""])


def _lines(fields: Fields) -> Iterable[str]:
    # TOML reads JSON's strings, numbers, and lists of them as the same values.
    return (f"{name} = {json.dumps(value)}" for name, value in fields.items())
