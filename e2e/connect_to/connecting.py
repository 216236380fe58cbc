"""Name resolution for Python clients: every connection goes to one address, for any name and port.

The client still believes that it talks to the name: the name is in the URL, in `Host`, in the
signature, and in the certificate that it expects. The effect is that of `curl --connect-to`.
"""

from contextlib import contextmanager

from urllib3.util import connection


@contextmanager
def connecting_to(address: tuple[str, int]):
    """Inside the block, urllib3, and so botocore, connects to this address only."""
    original = connection.create_connection
    connection.create_connection = lambda _name, *rest, **more: original(address, *rest, **more)
    try:
        yield
    finally:
        connection.create_connection = original
