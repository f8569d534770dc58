"""Web servers in processes of their own, as their users start them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_ENDS_WITHIN = 20


class Served:
    """A web server in a process of its own.

    Attributes:
        url: Without a path. Requests wait in the backlog until the server takes them, so nobody has to ask for it.
        process: The server, or the first of its processes.
    """

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self.process = process
        self._output: str | None = None

    def stop(self) -> tuple[int, str]:
        """End it as a supervisor would, with SIGTERM: its exit status, and all that it wrote."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """The same for one that ends by itself."""
        if self._output is None:
            try:
                self._output, _ = self.process.communicate(timeout=_ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self._output, _ = self.process.communicate()
        return self.process.returncode, self._output


@contextmanager
def served(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `python -m command...` on a port of its own until the end of the block.

    Args:
        command: In its words, FD stands for the number of the listening socket.
        environment: What it gets beyond ours.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = str(listener.fileno())
        process = subprocess.Popen(
            [sys.executable, "-m", *(word.replace("FD", number) for word in command)],
            env=os.environ | dict(environment or {}),
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", process)
        try:
            yield server
        except BaseException as failure:
            failure.add_note(f"the server ended with {server.stop()[0]} and wrote:\n{server.stop()[1]}")
            raise
        finally:
            server.stop()
