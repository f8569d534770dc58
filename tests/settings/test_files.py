"""Files: TOML, YAML and JSON say the same, and what cannot be understood names the file and the line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resilient_http import Resilience, SettingsError, load_settings

TOML = """
"$schema" = "https://example.com/settings.schema.json"
inbound.timeout = 5

[defaults]
hedge = {}
retry.budget = false

[upstreams.payments]
endpoints = ["http://10.0.0.1:8080", { url = "http://10.0.0.2:8080", weight = 2 }]
circuit = false
timeout = { total = 4, attempt = false }
pauses.endpoint = false
routes."GET /charges/{id}".hedge = false
fallback.response.body = { found = false }

[upstreams.search]
endpoints = ["http://10.0.0.3:8080"]
circuit.outcomes = { 429 = "failure" }
"""
BOMB = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]\n" for at in range(1, 30)
)  # 9 to the 30th
YAML = """
$schema: https://example.com/settings.schema.json
inbound: {timeout: 5}
defaults:
  hedge: {}
  retry: {budget: null}
upstreams:
  payments: &payments
    endpoints: ["http://10.0.0.1:8080", {url: "http://10.0.0.2:8080", weight: 2}]
    circuit: off
    timeout: {total: 4, attempt: ~}
    pauses: {endpoint: null}
    routes:
      GET /charges/{id}: {hedge: null}
    fallback: {response: {body: {found: false}}}
  search:
    endpoints: ["http://10.0.0.3:8080"]
    circuit: {outcomes: {429: failure}}
"""
JSON = """
{"$schema": "https://example.com/settings.schema.json", "inbound": {"timeout": 5},
 "defaults": {"hedge": {}, "retry": {"budget": null}},
 "upstreams": {
   "payments": {"endpoints": ["http://10.0.0.1:8080", {"url": "http://10.0.0.2:8080", "weight": 2}], "circuit": null,
                "timeout": {"total": 4, "attempt": null}, "pauses": {"endpoint": null},
                "routes": {"GET /charges/{id}": {"hedge": null}},
                "fallback": {"response": {"body": {"found": false}}}},
   "search": {"endpoints": ["http://10.0.0.3:8080"], "circuit": {"outcomes": {"429": "failure"}}}}}
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file in the current directory; its name."""
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def refused(name):
    with pytest.raises(SettingsError) as caught:
        load_settings(name, environment=None)
    return str(caught.value)


def test_the_three_kinds_of_file_say_the_same(written):
    made = [
        load_settings(written(name, content), environment=None)
        for name, content in [("a.toml", TOML), ("a.yaml", YAML), ("a.YML", YAML), ("a.json", JSON)]
    ]
    assert made[0] == made[1] == made[2] == made[3]
    payments = made[0].upstreams["payments"]
    assert (payments.circuit, payments.timeout.attempt, payments.pauses.endpoint) == (None, None, None)
    assert payments.hedge is not None
    assert payments.routes["GET /charges/{id}"].hedge is None
    assert payments.retry.budget is None
    assert payments.fallback.response.body == {"found": False}
    assert made[0].upstreams["search"].circuit.outcomes == {429: "failure"}


def test_an_empty_file_is_all_defaults(written):
    assert {load_settings(written(name, content), environment=None).inbound.timeout for name, content in
            [("a.toml", ""), ("a.yaml", "# nothing"), ("a.json", "{}")]} == {10.0}  # fmt: skip


def test_a_byte_order_mark_is_no_content(written):
    assert load_settings(written("a.json", b'\xef\xbb\xbf{"enabled": false}'), environment=None).enabled is False


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.toml", "enabled = true\nenabled = false\n\n", "a.toml: Cannot overwrite a value (at line 2"),
        ("a.toml", "enabled = maybe", "(at line 1, column 11)"),
        ("a.json", '{"enabled": true, "enabled": false}', "a.json: enabled is given twice"),
        ("a.json", '{\n"enabled": maybe}', "line 2"),
        ("a.json", "[1]", "a mapping is needed, not list"),
        ("a.yaml", "enabled: true\nenabled: false", "a.yaml: enabled is given twice (at line 2)"),
        ("a.yaml", "upstreams:\n  yes: {}", "the key 'yes' is no text; write it in quotes (at line 2)"),
        ("a.yaml", "upstreams:\n  ? [a]\n  : {}", "is no text"),
        ("a.yaml", "upstreams: &a\n  b: *a", "it contains itself"),
        ("a.yaml", "a: [", "(at line 1)"),
        ("a.yaml", BOMB, "it holds more than 100000 values, aliases counted each time"),
        ("a.yaml", "a: " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a.json", '{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("a.toml", "a = " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a.yaml", "a: 1\n---\nb: 2", "but found another document"),
        ("a.yaml", "- a", "a mapping is needed, not list"),
        ("a.toml", b"a = '\xff'", "can't decode"),
        ("a.ini", "", "a.ini: a file ends in .toml, .yaml, .yml, .json"),
    ],
)
def test_what_cannot_be_understood_names_the_file_and_the_line(written, name, content, says):
    message = refused(written(name, content))
    assert message.startswith(f"{name}: ")
    assert says in message


def test_every_mistake_names_its_file_its_path_and_its_value(written):
    lowest = written("base.toml", "zone = 7\n[defaults]\nretry.max_attempts = 0\ntimeouts.total = 1")
    above = written("more.yaml", "upstreams: {payments: {endpoints: [http://n1], retry: {backof: {}}}, Search: {}}")
    with pytest.raises(SettingsError) as caught:
        load_settings(lowest, above, environment=None)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("base.toml: zone: ")
    assert [line for line in lines if line.startswith("base.toml: defaults.retry.max_attempts: ") and "(got 0)" in line]
    assert "base.toml: defaults.timeouts: unknown key; did you mean timeout?" in lines
    assert "more.yaml: upstreams.payments.retry.backof: unknown key; did you mean backoff?" in lines


def test_false_stays_false_where_it_means_something(written):
    settings = load_settings(written("a.toml", "enabled = false\ndefaults.tls.verify = false"), environment=None)
    assert (settings.enabled, settings.defaults.tls.verify) == (False, False)
    assert "a mapping is needed" in refused(written("a.toml", "defaults.timeout = false"))


def test_a_file_that_is_not_there_is_an_os_error():
    with pytest.raises(FileNotFoundError):
        load_settings("nowhere.toml")


def test_a_resilience_is_made_from_a_file(written, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "2")
    with Resilience(written("a.toml", TOML)) as resilience:
        assert resilience.settings.inbound.timeout == 2.0
        assert list(resilience.settings.upstreams) == ["payments", "search"]


def test_yaml_is_imported_only_when_it_is_used(written):
    code = "import sys, resilient_http as r; r.load_settings({}, sys.argv[1]); print('yaml' in sys.modules)"
    for name, content, used in [("a.toml", "", "False"), ("a.yaml", "", "True")]:
        command = [sys.executable, "-c", code, written(name, content)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == used


def test_without_the_extra_yaml_the_message_names_it(written, monkeypatch):
    monkeypatch.delitem(sys.modules, "resilient_http.settings.yaml", raising=False)
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert 'pip install "resilient-http[yaml]"' in refused(written("a.yaml", ""))
