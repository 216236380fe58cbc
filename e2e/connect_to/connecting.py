"""Name service for Python clients: every connection goes to one address, whatever the name and port.

The client still believes that it speaks to the name: it is in the URL, in `Host`, in the signature, and in the
certificate that it expects. It is what `curl --connect-to` does.
"""

from contextlib import contextmanager

from urllib3.util import connection


@contextmanager
def connecting_to(address: tuple[str, int]):
    """While it lasts, urllib3, and so botocore, connects to this address only."""
    original = connection.create_connection
    connection.create_connection = lambda _name, *rest, **more: original(address, *rest, **more)
    try:
        yield
    finally:
        connection.create_connection = original
