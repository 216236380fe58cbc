"""Prometheus's view of a proxy: its metrics as a mapping from series to values.

The parser is strict: a line that it cannot read is an error. Metrics come from the proxy's admin
listener, as for a collector.
"""

import http.client
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from processes import free_port

_SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
_PATIENCE = 20


@dataclass(frozen=True)
class Scrape:
    text: str
    values: dict[tuple[str, frozenset], float] = field(repr=False)

    @classmethod
    def of(cls, text: str) -> "Scrape":
        values = {}
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            name, labels, value = _SERIES.match(line).groups()
            found = frozenset(_LABEL.findall(labels or ""))
            assert (name, found) not in values, f"twice: {line}"
            values[name, found] = float(value)
        return cls(text, values)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels; 0 if there are none."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, has), value in self.values.items()
            if found == name and wanted <= has
        )

    def requests(self, **labels: str) -> float:
        return self.value("s3proxy_requests_total", **labels)

    @property
    def in_flight(self) -> float:
        """The number of requests that have begun and not ended."""
        return self.value("s3proxy_requests_in_flight")

    def label_values(self, label: str) -> set[str]:
        return {
            value
            for _, labels in self.values
            for name, value in labels
            if name == label
        }

    def __sub__(self, before: "Scrape") -> "Scrape":
        """The increase since an earlier scrape."""
        added = {
            series: value - before.values.get(series, 0)
            for series, value in self.values.items()
        }
        return Scrape(self.text, added)


@dataclass(frozen=True)
class Admin:
    """The admin listener of a proxy; `environment` has the variables that open it."""

    port: int

    @classmethod
    def anywhere(cls) -> "Admin":
        return cls(free_port())

    @property
    def environment(self) -> dict[str, str]:
        return {"S3PROXY_LISTEN_ADMIN": f"127.0.0.1:{self.port}"}

    def ask(self, path: str, method: str = "GET", seconds: float = 10) -> tuple:
        """Status, headers and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def scrape(self, seconds: float = 10) -> Scrape:
        status, headers, text = self.ask("/metrics", seconds=seconds)
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return Scrape.of(text)

    def added_by(self, work: Callable[[], object], requests: int = 1) -> Scrape:
        """The increase caused by `work`, once all of its requests have been counted."""
        before = self.until(lambda seen: seen.in_flight == 0, "idle")
        work()
        expected = before.requests() + requests
        after = self.until(
            lambda seen: seen.requests() >= expected and seen.in_flight == 0,
            f"{requests} requests",
        )
        return after - before

    def until(self, condition: Callable[[Scrape], bool], what: str) -> Scrape:
        """Scrapes until a condition holds: a request is counted just after its last byte."""
        for scrape in self._again():
            if condition(scrape):
                return scrape
        raise AssertionError(f"not {what} after {_PATIENCE} s:\n{scrape.text}")

    def _again(self) -> Iterator[Scrape]:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            yield self.scrape()
            time.sleep(0.05)
