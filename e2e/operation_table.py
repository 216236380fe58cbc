"""The operations that the proxy knows, from the program's own table."""

import re
from dataclasses import dataclass

import pytest

from repository import ROOT

TABLE = ROOT / "crates/protocol/src/operation/table.rs"
ROW = re.compile(
    r"^    (?P<name>[A-Z]\w+) (?P<method>[A-Z]+) (?P<level>Service|Bucket|Object) "
    r'"(?P<sub>[^"]*)" (?P<selector>.+?), (?P<kind>\w+) (?P<access>\w+) .+;$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Row:
    name: str
    method: str
    level: str
    sub: str
    selector: str
    kind: str

    @property
    def query(self) -> str:
        named = re.search(r'Parameter\("([^"]+)"\)', self.selector)
        if self.selector == "ID":
            return f"{self.sub}&id=one"
        if self.selector == "NAMED":
            return f"{self.sub}&annotationName=one"
        return "&".join(filter(None, [self.sub, named and f"{named[1]}=1"]))


def rows() -> dict[str, Row]:
    text = TABLE.read_text().split("operations! {", 1)[1]
    found = {}
    for match in ROW.finditer(text):
        found[match["name"]] = Row(
            *(match[column] for column in ("name", "method", "level", "sub", "selector", "kind"))
        )
    return found


ROWS = rows()


def by_name(some: list[Row]):
    return pytest.mark.parametrize("row", some, ids=[row.name for row in some])
