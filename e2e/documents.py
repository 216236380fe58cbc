"""The documentation as data: pages, their fenced blocks, headings and links.

`documents_world.py` runs each block as a reader would. If a reader would do something other than
paste the block, an HTML comment just before the block says so; rendered pages do not show it:

`<!-- keeps running: URL -->`  run in a terminal of its own; done when URL answers 200
`<!-- file: NAME -->`          the reader writes the block into this file
`<!-- checked: image -->`      run by a stand-in for docker that takes the same arguments
`<!-- checked: helm -->`       a command that renders the chart, if helm is installed; or values for the
                             chart, which the chart's own tests also render
`<!-- not run: REASON -->`     not run, and listed in a snapshot so that none goes unnoticed

`<!-- goes on from: PAGE#SECTION -->`, anywhere in a page, runs that section of the other page
first. Pages share nothing but the server's buckets, so each page uses its own buckets.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from repository import ROOT

FOLDERS = ("docs", "recover", "charts", "deploy")
"""Folders that contain pages, in addition to the root."""

_NO_PAGES = ("CHANGELOG.md",)
"""The changelog describes the past, so it may name settings that no longer exist."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_MARK = re.compile(r"^\s*<!-- (?P<name>[a-z ]+?)(?:: (?P<value>.+?))? -->\s*$")
_HEADING = re.compile(r"^(?P<level>#{1,6}) (?P<text>.+?)\s*$")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)\)")

RUNS_ON = "keeps running"
FILE = "file"
CHECKED = "checked"
NOT_RUN = "not run"
GOES_ON = "goes on from"
MARKS = (RUNS_ON, FILE, CHECKED, NOT_RUN)


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is the line of its fence, `section` the anchor of its heading."""

    language: str
    text: str
    line: int
    section: str
    marks: dict[str, str] = field(default_factory=dict)

    def mark(self, name: str) -> str | None:
        return self.marks.get(name)


class Page:
    def __init__(self, path: Path):
        self.path = path
        self.name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        self.text = path.read_text()

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def blocks(self) -> list[Block]:
        return list(self._parsed[0])

    @cached_property
    def anchors(self) -> set[str]:
        """Targets of links: headings as forges name them, and anchors set by hand."""
        by_hand = re.findall(r'<a (?:id|name)="([^"]+)"></a>', self.prose)
        return set(self._parsed[1]) | set(by_hand)

    @cached_property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return "\n".join(self._parsed[2])

    @cached_property
    def links(self) -> list[str]:
        return [match["target"] for match in _LINK.finditer(re.sub(r"`[^`\n]+`", "``", self.prose))]

    @cached_property
    def goes_on_from(self) -> tuple[str, str] | None:
        """The page and its section that must run before this one."""
        found = re.search(rf"^<!-- {GOES_ON}: (\S+)#(\S+) -->$", self.text, re.MULTILINE)
        return (found[1], found[2]) if found else None

    def section(self, anchor: str) -> list[Block]:
        """The blocks between a heading and the next heading."""
        found = [block for block in self.blocks if block.section == anchor]
        if not found:
            raise ValueError(f"{self.name} has no block in a section #{anchor}")
        return found

    @cached_property
    def _parsed(self) -> tuple[list[Block], list[str], list[str]]:
        blocks, anchors, prose = [], [], []
        marks: dict[str, str] = {}
        lines = iter(enumerate(self.text.splitlines(), start=1))
        for number, line in lines:
            if fence := _FENCE.match(line):
                text = "".join(
                    inner.removeprefix(fence["indent"]) + "\n"
                    for inner in _until_fence(lines, self.name, number)
                )
                section = anchors[-1] if anchors else ""
                blocks.append(Block(fence["language"], text, number, section, marks))
                marks = {}
                continue
            prose.append(line)
            if mark := _MARK.match(line):
                marks = marks | {mark["name"]: mark["value"] or ""}
            elif line.strip():
                marks = {}
            if heading := _HEADING.match(line):
                anchors.append(_anchor(heading["text"], anchors))
        return blocks, anchors, prose


def pages() -> list[Page]:
    """All pages for readers, in a stable order."""
    paths = [path for path in ROOT.glob("*.md") if path.name not in _NO_PAGES]
    for folder in FOLDERS:
        paths += (ROOT / folder).rglob("*.md")
    return [Page(path) for path in sorted(paths)]


def _until_fence(lines, page: str, opened: int):
    for _, line in lines:
        if line.strip() == "```":
            return
        yield line
    raise ValueError(f"{page}, line {opened}: the block has no end")


def _anchor(heading: str, before: list[str]) -> str:
    """A heading's anchor on forges: lower case, words joined by hyphens, numbered if repeated."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
    repeated = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in before)
    return f"{name}-{repeated}" if repeated else name
