"""Messages: what ports do alike with requests and responses."""

from __future__ import annotations

import pytest

from resilient_http.engines.backend import load_backend
from resilient_http.ports.messages import Messages


@pytest.mark.parametrize(
    "value", [b"plain", "grün".encode(), "grün".encode("latin-1")], ids=["ascii", "utf-8", "latin-1"]
)
def test_header_lines_are_read_as_the_backend_reads_them(backend, library, value):
    raw = [(b"Content-Type", b"text/plain"), (b"X-Name", value), (b"x-name", b"again")]
    message = library.Response(200, headers=raw)

    lines = Messages(load_backend(backend)).lines(message)

    assert lines == tuple(message.headers.multi_items())
    assert [name for name, _ in lines] == ["content-type", "x-name", "x-name"]
