"""A name server that does not answer, as the system's own resolver meets it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STORY = """
import subprocess, sys, threading, time
folder = sys.argv[1]
for name in ("resolv.conf", "nsswitch.conf"):
    subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)

import anyio
from resilient_http import DeadlineExceeded, Resilience, deadline

resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://payments.invalid.example:8080"]}}})

def overrun(started):
    return time.monotonic() - started - 0.3

def in_sync():
    with resilience.client() as client:
        started = time.monotonic()
        try:
            with deadline(0.3):
                client.get("http://payments/")
        except DeadlineExceeded:
            return overrun(started)

async def in_async():
    async with resilience.async_client() as client:
        started = time.monotonic()
        try:
            with deadline(0.3):
                await client.get("http://payments/")
        except DeadlineExceeded:
            return overrun(started)

print(in_sync(), *(anyio.run(in_async, backend=loop) for loop in ("asyncio", "trio")))
print(*(thread.name for thread in threading.enumerate() if thread is not threading.main_thread()))
"""


def test_a_name_server_that_does_not_answer_holds_up_neither_the_call_nor_the_end_of_the_process(tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this test needs a mount namespace of its own: run it as root")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.53.7", 53))
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.53.7\noptions timeout:10 attempts:1\n")
        (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
        ended = subprocess.run(
            ["unshare", "--mount", sys.executable, "-c", STORY, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=8,  # less than the resolver's own limit: the process does not wait for its threads
            check=False,
        )
        silent.setblocking(False)
        question = silent.recv(512)

    assert b"payments" in question
    assert ended.returncode == 0, ended.stderr
    overruns, threads = ended.stdout.splitlines()
    assert [-0.05 < float(overrun) < 0.25 for overrun in overruns.split()] == [True] * 3
    assert [name.rpartition("-")[0] for name in threads.split()] == ["resilient-http-resolver"]
