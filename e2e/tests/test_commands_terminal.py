"""What a person at a terminal sees of a command on stored objects, and what a log gets."""

import os
import pty
import subprocess

from clients import boto3_client
from content import SMALL, content
from proxy import binary


def on_terminal(proxy, *arguments):
    """Runs a command whose standard error is a terminal; gives its output and what was drawn."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [binary(), *arguments[:1], "--config", proxy._config, *arguments[1:]],
        env=proxy._environment() | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            # Linux says so when the last writer has gone.
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    output = running.stdout.read()
    running.stdout.close()
    return running.wait(), output, drawn.decode()


def fill(deployment, bucket, prefix):
    s3 = boto3_client(deployment.target)
    for number in range(40):
        s3.put_object(Bucket=bucket, Key=f"{prefix}{number}", Body=content(SMALL))


def test_progress_is_drawn_on_a_terminal_and_nowhere_else(deployment, bucket, prefix):
    fill(deployment, bucket, prefix)
    status, output, drawn = on_terminal(deployment.proxy, "verify", f"{bucket}/{prefix}")
    assert status == 0
    assert f"verify {bucket}/{prefix}" in drawn
    assert "0 failed" in drawn
    assert "\x1b" not in output
    assert output.startswith("verify: 40 objects in ")
    assert "  verified " in output


def test_without_a_terminal_nothing_is_drawn(deployment, bucket, prefix):
    fill(deployment, bucket, prefix)
    done = deployment.proxy.finish("verify", f"{bucket}/{prefix}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
