"""What a FaultServer can do to a request: the answers, and the ways of not answering well.

Each function makes a `Behaviour`. Durations are seconds.
"""

import itertools
import json
import socket
import threading

from tests.live.exchange import Behaviour, Exchange, Headers, status_line

_NO_BODY = {204, 304}


def answer(status: int = 200, body: bytes | str = b"", headers: Headers = (), *, hang_up: bool = False) -> Behaviour:
    """A complete answer.

    Args:
        hang_up: Close the connection after it without having said so: the client's pool holds a stale connection.
    """
    content = body.encode() if isinstance(body, str) else body
    pairs = dict(headers)
    if status not in _NO_BODY and not {name.lower() for name in pairs} & {"content-length", "transfer-encoding"}:
        pairs["Content-Length"] = str(len(content))

    def act(exchange: Exchange) -> None:
        exchange.send_head(status, pairs)
        if exchange.request.method != "HEAD" and status not in _NO_BODY:
            exchange.send(content)
        if hang_up or pairs.get("Connection") == "close":
            exchange.close()

    return Behaviour(act)


def redirect(location: str, status: int = 302) -> Behaviour:
    """An empty answer that sends the client elsewhere."""
    return answer(status, headers={"Location": location})


def echo() -> Behaviour:
    """Answers with JSON of what was received: method, target, headers (a list of pairs), body_length."""

    def act(exchange: Exchange) -> None:
        request = exchange.request
        received = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body_length": len(request.body),
        }
        answer(200, json.dumps(received), {"Content-Type": "application/json"}).act(exchange)

    return Behaviour(act)


def tunnel() -> Behaviour:
    """Answers CONNECT as a proxy does: a tunnel to the target, until either end hangs up."""

    def act(exchange: Exchange) -> None:
        host, _, port = exchange.request.target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0) as target:
            exchange.send_head(200)
            exchange.relay(target)

    return Behaviour(act)


def raw(data: bytes, *, closes: bool = True) -> Behaviour:
    """Any bytes, HTTP or not, after which the connection is closed."""

    def act(exchange: Exchange) -> None:
        exchange.send(data)
        if closes:
            exchange.close()

    return Behaviour(act)


def drip_body(interval: float, chunk: bytes = b"x", chunks: int | None = None, *, status: int = 200) -> Behaviour:
    """Headers at once, then one chunk of the body per interval.

    Args:
        chunks: After so many the body is complete; None drips until the client has had enough.
    """

    def act(exchange: Exchange) -> None:
        exchange.send_head(status, {"Transfer-Encoding": "chunked"})
        for _ in itertools.count() if chunks is None else range(chunks):
            exchange.wait(interval)
            exchange.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        exchange.send(b"0\r\n\r\n")

    return Behaviour(act)


def drip_headers(interval: float, count: int | None = None) -> Behaviour:
    """The status line at once, then one byte of a header per interval.

    Args:
        count: After so many bytes the answer is complete; None drips until the client has had enough.
    """

    def act(exchange: Exchange) -> None:
        exchange.send(status_line(200) + b"Content-Length: 0\r\nX-Drip: ")
        for _ in itertools.count() if count is None else range(count):
            exchange.wait(interval)
            exchange.send(b"x")
        exchange.send(b"\r\n\r\n")

    return Behaviour(act)


def break_off_body(declared: int = 100, sent: int = 10, *, status: int = 200, reset: bool = False) -> Behaviour:
    """A body that ends before its declared length, by FIN or by RST."""

    def act(exchange: Exchange) -> None:
        exchange.send_head(status, {"Content-Length": str(declared)})
        exchange.send(b"x" * sent)
        if reset:
            # RST may overtake what was sent: leave the client the time to read it.
            exchange.wait(0.02)
            exchange.reset()
        exchange.close()

    return Behaviour(act)


def hang() -> Behaviour:
    """No answer, for as long as the client keeps the connection."""
    return Behaviour(lambda exchange: exchange.wait())


def reset() -> Behaviour:
    """RST after the request was received."""
    return Behaviour(lambda exchange: exchange.reset())


def close_before_answer() -> Behaviour:
    """FIN after the request was received: what a dropped keep-alive connection looks like."""
    return Behaviour(lambda exchange: exchange.close())


def close_idle(then: Behaviour | None = None) -> Behaviour:
    """The other behaviour (an empty 200 when there is none), and FIN when the next request arrives on that connection.

    The race of a kept connection: the server's idle timeout ends while a request is on its way. That request is not
    among the server's `requests`: nobody answered for it.
    """
    behaviour = then or answer()

    def act(exchange: Exchange) -> None:
        behaviour.act(exchange)
        exchange.drop_next()

    return Behaviour(act)


def delay(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Nothing for a while, then the other behaviour (an empty 200 when there is none)."""
    behaviour = then or answer()

    def act(exchange: Exchange) -> None:
        exchange.wait(seconds)
        behaviour.act(exchange)

    return Behaviour(act)


def gated(gate: threading.Event, then: Behaviour | None = None) -> Behaviour:
    """Nothing until the test opens the gate, then the other behaviour (an empty 200 when there is none)."""
    behaviour = then or answer()

    def act(exchange: Exchange) -> None:
        exchange.wait_for(gate)
        behaviour.act(exchange)

    return Behaviour(act)
