"""Document: what a source gives is read, or refused without a word of what stands in it."""

from __future__ import annotations

import threading
import time

import pytest

from resilient_http.errors import SettingsError
from resilient_http.upstreams.documents.document import MOST, read_document
from resilient_http.upstreams.documents.file import FileDocument
from resilient_http.upstreams.sources.source import SourceFailed


@pytest.mark.parametrize(
    "said",
    ['{"enabled": false}', b'{"enabled": false}', b'\xef\xbb\xbf{"enabled": false}\r\n', '\ufeff{"enabled": false}'],
    ids=["text", "bytes", "marked bytes", "marked text"],
)
def test_a_text_is_read_with_or_without_a_byte_order_mark(said):
    assert read_document(said, "json") == {"enabled": False}


@pytest.mark.parametrize("said", ["", b" \r\n", b"\xef\xbb\xbf"])
def test_what_is_empty_is_about_to_be_written(said):
    with pytest.raises(SourceFailed, match="it is empty"):
        read_document(said, "json")


@pytest.mark.parametrize(
    ("said", "written", "why"),
    [
        (b'{"hunter2": "\xff"}', "json", "this is no UTF-8 (at byte 13)"),
        ('{"hunter2": "\udcff"}', "json", "this is no UTF-8 (at byte 13)"),  # as Redis gives it
        ('{"hunter2": 1}'.encode("utf-16"), "json", "this is no UTF-8 (at byte 0)"),
        ('{\n"hunter2": }', "json", "this is no JSON (line 2 column 12)"),
        ('{"hunter2": 1, "hunter2": 2}', "json", "this is no JSON: a key is given twice"),
        ("a = 1\nhunter2", "toml", "this is no TOML"),
        ("a: 1\nhunter2: [", "yaml", "this is no YAML (line 2)"),
        ("hunter2: 1\nhunter2: 2", "yaml", "this is no YAML: a key is given twice (line 2)"),
        ('{"hunter2": ' + "[" * 100_000, "json", "this is nested too deeply, or it contains itself"),
        (b" " * MOST + b"{}", "json", f"a document of more than {MOST} bytes"),
        ("[]", "json", "a mapping of settings is needed, not list"),
        (7, "json", "a mapping of settings is needed, not int"),
    ],
)
def test_what_is_no_document_is_refused_with_the_place_and_without_the_content(said, written, why):
    with pytest.raises(SettingsError) as caught:
        read_document(said, written)
    assert str(caught.value).startswith(why)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("told", [True, False], ids=["told", "looked at"])
def test_a_file_that_changes_before_it_is_waited_for_is_read_anew(tmp_path, told):
    path, stop = tmp_path / "settings.json", threading.Event()
    path.write_text("1")
    contents = FileDocument(str(path), 60.0, told=told).watch(stop)
    assert next(contents) == b"1"
    path.write_text("12")
    started = time.monotonic()
    assert next(contents) == b"12"
    assert time.monotonic() - started < 10.0  # not only after the interval
    stop.set()
