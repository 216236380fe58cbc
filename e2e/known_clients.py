"""Listed clients as settings files have them: entries of `[[clients.known]]` with their grants.

A client's credential follows from its name. The secrets carry the mark that test_lifecycle_logs.py
looks for in the logs of the whole run.
"""

import json
from collections.abc import Iterable

from target import Credential

Fields = dict[str, str | int | list[str]]

READING: Fields = {"operations": ["read"]}
"""A grant of reads alone, everywhere."""


def credential_of(name: str) -> Credential:
    return Credential(f"CLIENT{name.upper()}", f"client-secret-that-must-not-be-told-{name}")


def known_client(name: str, *grants: Fields, **settings: str | int) -> str:
    """An entry for a settings file; `settings` are further ones of the client, or in place of those
    that follow from its name. Without grants it may do everything."""
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
    # What JSON writes for texts, numbers and lists of them, TOML reads as the same.
    return (f"{name} = {json.dumps(value)}" for name, value in fields.items())
