"""docs/clients.md: the results of the matrix, and notes for users of each client.

Most runs have no Garage. The results of the last run with Garage are kept in a file beside the
notes and stay on the page until another run with Garage changes them.
"""

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "clients.md"
_NOTES = Path(__file__).parent / "clients-notes"

OPTIONAL = "garage"
"""The backend that is tried only if it is installed."""
RECORDED = _NOTES / "garage.json"
_HEAD = """\
# Clients

Made by `e2e/clients-page` from a run of the end-to-end suite; the suite fails when it does not find
what stands here. Each cell is a round trip through the proxy, compared byte for byte, after which
nothing unsealed lies on the backend and no upload has left anything behind. A cell that says why it
does not work cannot be had from that backend without a proxy either.

Garage is tried only where it is installed, last on {date} with Garage {version}; the others in every
run. A release of a client in brackets is the one that was tried there then.
"""
_BACKEND_NAMES = {
    "seaweedfs": "SeaweedFS",
    "radosgw": "Ceph radosgw",
    "moto": "moto",
    OPTIONAL: "Garage",
}
_OUTCOMES = {"works": "works", "failed": "does not work"}


def render(cells: Iterable[dict[str, str]]) -> str:
    """The page rendered from the results of a complete run."""
    cells, recorded = list(cells), json.loads(RECORDED.read_text())
    versions = {(cell["client"], cell["action"]): cell["version"] for cell in cells}
    if not any(cell["backend"] == OPTIONAL for cell in cells):
        cells += [cell for cell in recorded["cells"] if (cell["client"], cell["action"]) in versions]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for cell in cells:
        what = cell["client"], cell["action"]
        rows.setdefault(what, {})[cell["backend"]] = _found(cell, versions[what])
    head = ["client", "version", "what it does", *_BACKEND_NAMES.values()]
    lines = [_row(head), _row("---" for _ in head)]
    for what, found in sorted(rows.items(), key=lambda row: [name.lower() for name in row[0]]):
        client, action = what
        tried = (found.get(backend, "not tried") for backend in _BACKEND_NAMES)
        lines.append(_row([client, versions[what], action, *tried]))
    notes = [path.read_text().strip() for path in sorted(_NOTES.glob("*.md"))]
    page = [_HEAD.format(**recorded), *lines, "", "\n\n".join(notes)]
    return "\n".join(page) + "\n"


def record(cells: Iterable[dict[str, str]], version: str) -> None:
    """Records the Garage results of this run, for pages rendered from runs without Garage."""
    found = {
        "version": version,
        "date": date.today().isoformat(),
        "cells": [cell for cell in cells if cell["backend"] == OPTIONAL],
    }
    RECORDED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _found(cell: dict[str, str], version: str) -> str:
    text = _OUTCOMES.get(cell["outcome"]) or f"no: {cell['reason']}"
    return text if cell["version"] == version else f"{text} ({cell['version']})"


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
