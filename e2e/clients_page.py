"""docs/clients.md: what the cells of the matrix found, and the notes that users of a client need."""

from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "clients.md"
_NOTES = Path(__file__).parent / "clients-notes"

_HEAD = """\
# Clients

Made by `e2e/clients-page` from a run of the end-to-end suite; the suite fails when it does not find
what stands here. Each cell is a round trip through the proxy, compared byte for byte, after which
nothing unsealed lies on the backend and no upload has left anything behind. A cell that says why it
does not work cannot be had from that backend without a proxy either.

"""
_BACKEND_NAMES = {"seaweedfs": "SeaweedFS", "radosgw": "Ceph radosgw", "moto": "moto"}
_OUTCOMES = {"works": "works", "failed": "does not work"}


def render(cells: Iterable[dict[str, str]]) -> str:
    """The page that the results of a whole run make."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in cells:
        row = rows.setdefault((cell["client"], cell["version"], cell["action"]), {})
        row[cell["backend"]] = _OUTCOMES.get(cell["outcome"]) or f"no: {cell['reason']}"
    head = ["client", "version", "what it does", *_BACKEND_NAMES.values()]
    lines = [_row(head), _row("---" for _ in head)]
    for names, found in sorted(rows.items(), key=lambda row: [name.lower() for name in row[0]]):
        lines.append(_row([*names, *(found.get(backend, "") for backend in _BACKEND_NAMES)]))
    notes = [path.read_text().strip() for path in sorted(_NOTES.glob("*.md"))]
    return _HEAD + "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def _row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
