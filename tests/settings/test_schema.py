"""The JSON Schema says of the settings what editors need, and allows what files may say."""

from __future__ import annotations

import json

from resilient_http.cli import main
from resilient_http.settings.keys import keys
from resilient_http.settings.models import Settings
from resilient_http.settings.schema import DIALECT, schema


def at(*path):
    """What the schema says of a key below an upstream."""
    made = schema()
    found = made["$defs"]["UpstreamSettings"]
    for key in path:
        found = found["properties"][key]
        refs = [found, *found.get("anyOf", ())]
        below = next((each["$ref"] for each in refs if "$ref" in each), None)
        if below is not None and key != path[-1]:
            found = made["$defs"][below.rpartition("/")[2]]
    return found


def objects(made):
    """Every mapping with known keys in it."""
    if isinstance(made, list):
        return [each for below in made for each in objects(below)]
    if not isinstance(made, dict):
        return []
    below = [each for value in made.values() for each in objects(value)]
    return [made, *below] if isinstance(made.get("properties"), dict) and made.get("type") == "object" else below


def test_it_is_a_json_schema_that_says_so_and_lets_a_file_name_its_own():
    made = schema()
    assert made["$schema"] == DIALECT
    assert made["properties"]["$schema"] == {"type": "string"}
    assert json.loads(json.dumps(made)) == made
    for text in json.dumps(made).split('"$ref": "#/$defs/')[1:]:
        assert text.partition('"')[0] in made["$defs"]


def test_every_key_is_described_and_an_unknown_one_refused():
    made = schema()
    known = {key.path[-1] for key in keys(Settings)}
    described = set()
    for each in objects(made):
        assert each["additionalProperties"] is False
        for name, own in each["properties"].items():
            described.add(name)
            assert name == "$schema" or own["description"]
    assert described - {"$schema"} == known
    assert at("retry")["description"] == "What is repeated, and how often. None for no repeats."


def test_ranges_defaults_and_choices_are_told():
    total = at("timeout", "total")
    assert total["default"] == 10.0
    assert {"exclusiveMinimum": 0, "maximum": 604800, "type": "number"} in total["anyOf"]
    assert at("retry", "max_attempts")["minimum"] == 1
    assert at("propagate")["enum"] == ["none", "tracecontext", "all"]
    assert at("tls")["x-reload"] == "new connections"
    names = {"ge", "gt", "le", "lt", "allow_inf_nan"}
    assert not names & {key for each in objects(schema()) for own in each["properties"].values() for key in own}


def test_short_forms_are_allowed():
    made = schema()["$defs"]
    assert {"type": "string", "format": "uri"} in made["EndpointSettings"]["anyOf"]
    assert {"type": "string"} in made["DeadlineHeader"]["anyOf"]
    assert {"enum": ["p2c", "weighted", "ewma"]} in made["BalanceSettings"]["anyOf"]
    assert {"type": "string"} in made["HealthSettings"]["anyOf"]


def test_null_and_false_switch_off():
    for path in [("retry",), ("timeout", "total"), ("circuit", "streak")]:
        assert {"type": "null"} in at(*path)["anyOf"]
        assert {"const": False} in at(*path)["anyOf"]


def test_nothing_is_required_that_another_layer_may_say():
    required = [each["required"] for each in objects(schema()) if "required" in each]
    assert sorted(required) == [["name"], ["name", "unit"], ["url"]]


def test_the_command_writes_it(tmp_path, capsys):
    assert main(["schema", str(tmp_path / "s.json")]) == 0
    assert main(["schema"]) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == json.loads(capsys.readouterr().out) == schema()
