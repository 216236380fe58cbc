"""Loaded by Python if its folder is on PYTHONPATH: the AWS CLI then connects to CONNECT_TO."""

import os

from connecting import connecting_to

if "CONNECT_TO" in os.environ:
    host, _, port = os.environ["CONNECT_TO"].rpartition(":")
    # Kept in a variable: the garbage collector would end the context manager otherwise.
    for_good = connecting_to((host, int(port)))
    for_good.__enter__()
