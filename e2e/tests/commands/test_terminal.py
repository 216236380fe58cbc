"""The display of a command on stored objects: at a terminal, and in a log."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import boto3_client
from content import SMALL, content
from proxy import binary

COLOURS = re.compile("\x1b\\[[0-9;]*m")


def on_terminal(proxy, *arguments, columns=80, interrupted_at=None, **variables):
    """Runs a command whose standard error is a terminal; returns status, output and drawn text.

    Presses Ctrl-C once `interrupted_at` was drawn.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    running = subprocess.Popen(
        [binary(), *arguments[:1], "--config", proxy._config, *arguments[1:]],
        env=proxy._environment() | {"TERM": "xterm"} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        # A controlling terminal, so that the keyboard's signals reach the command.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            # Linux reports an error when the last writer has closed the terminal.
            break
        if not piece:
            break
        drawn += piece
        if interrupted_at is not None and interrupted_at in drawn.decode(errors="replace"):
            os.write(ours, b"\x03")
            interrupted_at = None
    os.close(ours)
    output = running.stdout.read()
    running.stdout.close()
    return running.wait(), output, drawn.decode()


def screen(drawn: str, columns=80) -> list[str]:
    """The final lines on the terminal's screen."""
    lines, row, column = [""], 0, 0
    for part in re.findall("\x1b\\[[0-9;]*[A-Za-z]|.", drawn, re.DOTALL):
        count = int(part[2:-1]) if part[2:-1].isdigit() else 1
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
        elif part.startswith("\x1b"):
            row += {"A": -count, "B": count}.get(part[-1], 0)
            if part[-1] == "K":
                lines[row] = ""
        else:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def fill(deployment, bucket, prefix, objects=40):
    s3, body = boto3_client(deployment.target), content(SMALL)
    with ThreadPoolExecutor(8) as pool:
        puts = [
            pool.submit(s3.put_object, Bucket=bucket, Key=f"{prefix}{number}", Body=body)
            for number in range(objects)
        ]
        for put in puts:
            put.result()


def test_progress_is_drawn_on_a_terminal_and_nowhere_else(deployment, bucket, prefix):
    fill(deployment, bucket, prefix)
    status, output, drawn = on_terminal(deployment.proxy, "verify", f"{bucket}/{prefix}")
    assert status == 0
    assert f"verify {bucket}/{prefix}" in drawn
    assert "40 of 40 objects" in drawn
    assert "0 failed" in drawn
    assert COLOURS.search(drawn)
    assert "\x1b" not in output
    assert output.startswith("verify: 40 objects in ")
    assert "  verified " in output


def test_no_color_is_honoured_and_lines_fit_the_terminal(deployment, bucket, prefix):
    fill(deployment, bucket, prefix)
    target = f"{bucket}/{prefix}"
    status, _, drawn = on_terminal(deployment.proxy, "verify", target, columns=60, NO_COLOR="1")
    assert (status, COLOURS.search(drawn)) == (0, None)
    # Lines are padded to the terminal's width.
    pieces = re.split("[\r\n]|   +|\x1b\\[[0-9]*[A-Z]", drawn)
    assert max(map(len, pieces)) < 60


@pytest.mark.parametrize("terminal", ["dumb", ""])
def test_nothing_is_drawn_if_the_cursor_cannot_be_moved(deployment, bucket, prefix, terminal):
    fill(deployment, bucket, prefix)
    ran = on_terminal(deployment.proxy, "verify", f"{bucket}/{prefix}", TERM=terminal)
    assert (ran[0], ran[2]) == (0, "")


def test_the_last_look_after_an_interrupt_agrees_with_the_summary(deployment, bucket, prefix):
    fill(deployment, bucket, prefix, objects=1500)
    status, output, drawn = on_terminal(
        deployment.proxy,
        *("verify", "--concurrency", "2", f"{bucket}/{prefix}"),
        interrupted_at=f"verify {bucket}",
    )
    assert status == 130, output
    assert "press Ctrl-C again to stop now" in drawn
    [done] = re.findall(r"^verify: ([0-9,]+) objects? in ", output, re.MULTILINE)
    assert int(done.replace(",", "")) < 1500
    looks = re.findall(r"  ([0-9,]+)(?: of [0-9,]+\+?)? objects?, ", COLOURS.sub("", drawn))
    assert looks[-1] == done
    assert "Interrupted. To resume, repeat the command with: " in output
    left = [line for line in screen(drawn) if line not in ("", "^C")]
    assert left == ["Stopping: finishing objects in progress; press Ctrl-C again to stop now."]


def test_the_total_is_counted_ahead_of_the_work(deployment, bucket, prefix):
    fill(deployment, bucket, prefix, objects=1500)
    status, output, drawn = on_terminal(
        deployment.proxy,
        *("verify", "--concurrency", "1", f"{bucket}/{prefix}"),
        interrupted_at=" of 1,500 objects",
    )
    assert status == 130, output
    looks = re.findall("  ([0-9,]+) of 1,500 objects, .*? left, 0 failed", COLOURS.sub("", drawn))
    # The total was known long before the last object was begun.
    assert int(looks[0].replace(",", "")) < 1400, looks


def test_a_sweep_shows_its_bucket(deployment, bucket):
    status, output, drawn = on_terminal(deployment.proxy, "sweep", "--bucket", bucket)
    assert status == 0, output
    assert f"sweep {bucket}" in drawn
    assert "1 of 1 bucket" in drawn


def test_equal_failures_are_reported_once_with_the_remedy(deployment, deployments, bucket, prefix):
    fill(deployment, bucket, prefix)
    other = deployments.proxy(deployments.server("seaweedfs"), "proxy-terminal-other-key")
    done = other.proxy.finish("verify", f"{bucket}/{prefix}")
    assert done.returncode == 3
    assert done.stdout.count("FAILED ") == 5 + 1
    assert "35 more objects failed for the same reason: key: the object is sealed" in done.stdout
    assert "add that key to S3PROXY_KEYS_DECRYPT_KEYS" in done.stdout
    every = other.proxy.finish("verify", "--verbose", f"{bucket}/{prefix}")
    assert every.stdout.count("FAILED ") == 40 + 1


def test_without_a_terminal_nothing_is_drawn(deployment, bucket, prefix):
    fill(deployment, bucket, prefix)
    done = deployment.proxy.finish("verify", f"{bucket}/{prefix}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
