"""Clients that are Python programs, in python-clients/, with their own set of packages.

They have a separate virtual environment from the test runner, because they need another botocore
than boto3.
"""

from pathlib import Path

from cells import Place
from clients import aws_variables
from processes import clean_environment, run
from servers import tools

_PROGRAMS = Path(__file__).parent / "python-clients"


def client_environment(place: Place, **extra: str) -> dict[str, str]:
    """The client's variables for endpoint and credential; the bucket is in S3_BUCKET."""
    where = {"S3_ENDPOINT": place.target.url, "S3_BUCKET": place.bucket}
    return clean_environment(place.home, **aws_variables(place.target), **where, **extra)


def run_program(place: Place, name: str, *arguments, venv: str = "clients", **extra: str) -> str:
    """Runs one of python-clients/ against a place; its assertions are the test's."""
    command = [tools(venv) / "python", _PROGRAMS / name, *arguments]
    return run(command, client_environment(place, **extra))
