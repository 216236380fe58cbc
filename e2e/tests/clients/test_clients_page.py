"""The page on clients agrees with the results of this run."""

import json

import pytest

from cells import RESULTS
from clients_page import PAGE, RECORDED, render


def test_committed_page_says_what_the_cells_found(request):
    results = request.config.stash[RESULTS]
    if not results.whole or request.config.getoption("--direct"):
        pytest.skip("only a whole run through the proxy can say what the page should be")
    assert PAGE.read_text() == render(results.rows()), "run e2e/clients-page, and read what changed"


def test_page_of_a_run_without_garage_shows_what_was_recorded_there():
    recorded = json.loads(RECORDED.read_text())["cells"]
    others = [cell | {"backend": "seaweedfs", "outcome": "works"} for cell in recorded]
    assert render(others) == render(others + recorded)


def test_page_names_the_release_of_a_client_that_was_recorded_earlier():
    recorded = json.loads(RECORDED.read_text())["cells"]
    others = [cell | {"backend": "seaweedfs", "version": "99.9"} for cell in recorded]
    for cell in recorded:
        assert f"({cell['version']}) |" in _line(render(others), cell)


def test_run_with_garage_counts_more_than_what_was_recorded():
    recorded = json.loads(RECORDED.read_text())["cells"]
    worse = [cell | {"outcome": "failed"} for cell in recorded]
    assert render(worse).count("does not work |") == len(worse)


def _line(page: str, cell: dict[str, str]) -> str:
    [line] = [
        line
        for line in page.splitlines()
        if line.startswith(f"| {cell['client']} | ") and f" | {cell['action']} | " in line
    ]
    return line
