"""The inbox hands on what the caller sends, whole and in order, while a watcher reads ahead."""

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http_fastapi.inbox import Inbox

GONE = {"type": "http.disconnect"}


def piece(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """What a server gives: the messages in turn, then nothing until the caller goes away."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.read = 0
        self.gone = anyio.Event()

    async def receive(self):
        await anyio.lowlevel.checkpoint()
        if self.read < len(self.messages):
            self.read += 1
            return self.messages[self.read - 1]
        await self.gone.wait()
        return GONE


async def settle():
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_without_an_outbound_call_nothing_is_read_ahead():
    server = Server(piece(b"a", more=False))
    Inbox(server.receive)
    await settle()

    assert server.read == 0


async def test_the_watcher_reads_one_piece_ahead_and_no_more():
    server = Server(piece(b"a", more=True), piece(b"b", more=True), piece(b"c", more=False))
    inbox = Inbox(server.receive)
    inbox.cancellation.heed()
    await settle()

    assert server.read == 1
    assert await inbox.receive() == server.messages[0]
    await settle()
    assert server.read == 2
    inbox.close()


async def test_behind_the_last_piece_it_sees_the_caller_go():
    server = Server(piece(b"", more=False))
    inbox = Inbox(server.receive)
    inbox.cancellation.heed()
    await settle()
    assert not inbox.cancellation.requested

    server.gone.set()
    await settle()

    assert inbox.cancellation.requested
    assert [await inbox.receive() for _ in range(3)] == [server.messages[0], GONE, GONE]
    inbox.close()


async def test_an_empty_piece_hides_nothing():
    server = Server(*[piece(b"", more=True)] * 3)
    server.gone.set()
    inbox = Inbox(server.receive)
    inbox.cancellation.heed()
    await settle()

    assert inbox.cancellation.requested
    inbox.close()


async def test_a_reader_that_gives_up_loses_nothing():
    server = Server()
    inbox = Inbox(server.receive)
    inbox.cancellation.heed()
    await settle()
    with anyio.move_on_after(0.01):
        await inbox.receive()
    server.gone.set()

    assert await inbox.receive() == GONE
    inbox.close()


async def test_whoever_reads_is_not_disturbed_by_the_watcher():
    server = Server()
    inbox = Inbox(server.receive)
    seen = []

    async def read():
        seen.append(await inbox.receive())

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await settle()
        inbox.cancellation.heed()
        await settle()
        server.gone.set()

    assert seen == [GONE]
    assert inbox.cancellation.requested
    inbox.close()


async def test_a_failure_of_the_servers_reaches_the_application():
    async def receive():
        raise OSError("the server has lost it")

    inbox = Inbox(receive)
    inbox.cancellation.heed()
    await settle()

    with pytest.raises(OSError, match="the server has lost it"):
        await inbox.receive()
    inbox.close()


async def test_a_watcher_ends_with_its_request():
    server = Server()
    inbox = Inbox(server.receive)
    inbox.cancellation.heed()
    inbox.close()
    await settle()
    inbox.close()
    server.gone.set()
    await settle()

    assert not inbox.cancellation.requested


async def test_a_thread_can_be_the_first_to_call():
    server = Server()
    server.gone.set()
    inbox = Inbox(server.receive)
    await anyio.to_thread.run_sync(inbox.cancellation.heed)
    await settle()

    assert inbox.cancellation.requested
    inbox.close()


@given(
    bodies=st.lists(st.binary(max_size=3), max_size=8),
    steps=st.lists(st.sampled_from(["read", "watch", "give up", "rest"]), max_size=30),
)
def test_whatever_happens_the_body_is_whole_and_in_order(bodies, steps):
    async def run():
        server = Server(*[piece(body, more=index < len(bodies) - 1) for index, body in enumerate(bodies)])
        server.gone.set()
        inbox = Inbox(server.receive)
        got = []
        for step in steps:
            if step == "read":
                got.append(await inbox.receive())
            elif step == "watch":
                inbox.cancellation.heed()
            elif step == "rest":
                await settle()
            else:
                with anyio.CancelScope() as given_up:
                    given_up.cancel()
                    got.append(await inbox.receive())
        while GONE not in got:
            got.append(await inbox.receive())
        inbox.close()
        assert b"".join(message["body"] for message in got if message != GONE) == b"".join(bodies)

    anyio.run(run)
