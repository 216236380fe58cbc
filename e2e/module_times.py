"""Prints the time that each module took, slowest first: the list to read when the suite gets slow."""

from collections import Counter

#: Modules below this many seconds are left out.
SHORTEST = 5.0

_seconds = Counter()


def pytest_runtest_logreport(report):
    """Set-up and teardown count for the module whose test asked for them."""
    _seconds[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter):
    slow = [(module, seconds) for module, seconds in _seconds.most_common() if seconds >= SHORTEST]
    if not slow:
        return
    terminalreporter.section("slowest modules")
    for module, seconds in slow:
        terminalreporter.write_line(f"{seconds:7.1f} s  {module}")
