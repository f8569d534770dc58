"""Discovery beside other settings: what a reload leaves, and what is shown of it."""

from __future__ import annotations

import pytest

from resilient_http.events import Hub
from resilient_http.settings.changes import changes
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.models import Settings
from resilient_http.upstreams.nodes import Nodes

ETCD = {"etcd": {"url": "http://n1:2379", "prefix": "/payments/"}}
DNS = {"dns": {"name": "payments.test", "port": 8080}}


def upstream(**own):
    return Settings(upstreams={"payments": own}).upstreams["payments"]


def nodes_of(**own):
    return Nodes("payments", upstream(**own), Hub())


def urls(nodes):
    return [member.url for member in nodes.endpoints.members]


def found(*hosts):
    return [EndpointSettings(url=f"http://{host}") for host in hosts]


def test_while_nothing_is_known_there_are_none():
    nodes = nodes_of(discovery=ETCD)
    assert not nodes.endpoints.known
    assert nodes.scheme == "http"
    assert nodes.replace(found("n1"), 0.0)
    assert nodes.endpoints.known
    assert not nodes.replace(found("n1"), 1.0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # What was found stays, whatever the settings list beside it.
        (
            {"discovery": ETCD, "endpoints": ["http://a"]},
            {"discovery": ETCD, "endpoints": ["http://b"]},
            ["http://found"],
        ),
        ({"discovery": ETCD}, {"discovery": DNS}, ["http://found"]),
        ({"endpoints": ["http://a"]}, {"discovery": ETCD}, ["http://found"]),
        # And goes where nothing is found out any more.
        ({"discovery": ETCD}, {"endpoints": ["http://b"]}, ["http://b"]),
    ],
    ids=["others listed", "another source", "a source now", "a list now"],
)
def test_other_settings_leave_what_was_found(before, after, expected):
    nodes = nodes_of(**before)
    nodes.replace(found("found"), 0.0)
    nodes.adjust(upstream(**after), 1.0, zone=None)
    assert urls(nodes) == expected


def test_nodes_that_are_listed_now_serve_until_some_are_found():
    nodes = nodes_of(discovery=ETCD)
    nodes.adjust(upstream(discovery=ETCD, endpoints=["http://b"]), 1.0, zone=None)
    assert urls(nodes) == ["http://b"]


def test_the_name_that_dns_was_asked_for_is_what_the_nodes_are_called():
    nodes = nodes_of(discovery=DNS)
    nodes.replace([EndpointSettings(url="http://10.0.0.1:8080")], 0.0)
    (member,) = nodes.endpoints.members
    assert (member.link.host, member.link.server_name) == ("payments.test:8080", "payments.test")
    assert nodes.is_one("http://payments.test:8080")
    nodes.adjust(upstream(discovery=DNS, host="pay.example"), 1.0, zone=None)
    assert (member.link.host, member.link.server_name) == ("pay.example", "pay.example")
    nodes.adjust(upstream(discovery=ETCD), 2.0, zone=None)
    assert member.link.host == "10.0.0.1:8080"


class Telling:
    """A source that shows what it holds."""

    def resolve(self):
        return ["http://n1"]

    def __repr__(self):
        return "hunter2"


def test_what_changed_shows_no_secret():
    def settings(**discovery):
        return Settings(upstreams={"payments": {"discovery": discovery}})

    told = "\n".join(
        map(
            str,
            [
                *changes(settings(source=Telling()), settings(source=Telling())),
                *changes(settings(consul={"service": "p", "token": "hunter1"}), settings(source=Telling())),
                *changes(settings(**ETCD), settings(etcd={**ETCD["etcd"], "user": "me", "password": "hunter3"})),
            ],
        )
    )
    assert "hunter" not in told
    assert "Telling" in told
