"""Registry: the etcd of those acts of the demo that have one."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path

from example_project.cluster import BrokenDownError
from tests.live.etcd import Etcd, find_etcd


async def start_etcd(stack: ExitStack) -> Etcd:
    """An etcd that ends with the stack. What resilient_http logs is kept quiet: the acts tell it from its events.

    Raises:
        BrokenDownError: There is none on this machine.
    """
    command = find_etcd()
    if command is None:
        message = "etcd is missing; .ci/provide etcd etcd-server installs it, or: apt-get install etcd-server"
        raise BrokenDownError(message)
    logging.getLogger("resilient_http").addHandler(logging.NullHandler())
    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resilient-http-etcd-")))
    return stack.enter_context(await asyncio.to_thread(Etcd, command, root))
