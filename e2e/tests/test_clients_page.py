"""The page on clients says what the cells of this very run found."""

import pytest

from cells import RESULTS
from clients_page import PAGE, render


def test_committed_page_says_what_the_cells_found(request):
    results = request.config.stash[RESULTS]
    if not results.whole or request.config.getoption("--direct"):
        pytest.skip("only a whole run through the proxy can say what the page should be")
    assert PAGE.read_text() == render(results.rows()), "run e2e/clients-page, and read what changed"
