"""The settings of discovery: what they default to, what is refused, and that secrets stay where they are."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings

DNS = {"dns": {"name": "payments.test", "port": 8080}}
SRV = {"srv": {"name": "_http._tcp.payments.test"}}
ETCD = {"etcd": {"url": "http://n1:2379", "prefix": "/payments/"}}
CONSUL = {"consul": {"service": "payments"}}


class Ours:
    def resolve(self):
        return ["http://n1"]


class Watching:
    def watch(self, stop):
        yield ["http://n1"]


class Late:
    async def resolve(self):
        return ["http://n1"]


class LateWatching:
    async def watch(self, stop):
        yield ["http://n1"]


def read(discovery, **own):
    return Settings(upstreams={"payments": {"discovery": discovery, **own}}).upstreams["payments"]


def refused(discovery, **own) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(discovery, **own)
    return caught.value


def test_the_defaults():
    assert read(DNS).discovery.model_dump() == {
        "dns": {
            "name": "payments.test",
            "port": 8080,
            "scheme": "http",
            "family": "any",
            "resolver": (),
            "min_ttl": 1.0,
            "max_ttl": 60.0,
        },
        "srv": None,
        "etcd": None,
        "consul": None,
        "source": None,
        "interval": 30.0,
        "timeout": 2.0,
        "first_wait": 3.0,
        "confirm_after": 5.0,
        "max_backoff": 10.0,
    }
    assert read(SRV).discovery.srv.model_dump() == {
        "name": "_http._tcp.payments.test",
        "scheme": "http",
        "resolver": (),
        "min_ttl": 1.0,
        "max_ttl": 60.0,
    }
    assert read(ETCD).discovery.etcd.model_dump() == {
        "url": ("http://n1:2379",),
        "prefix": "/payments/",
        "user": None,
        "password": None,
        "tls": {"verify": True, "cert": None},
    }
    assert read(CONSUL).discovery.consul.model_dump() == {
        "service": "payments",
        "url": "http://127.0.0.1:8500",
        "tags": (),
        "datacenter": None,
        "passing": True,
        "scheme": "http",
        "token": None,
        "wait": 60.0,
        "tls": {"verify": True, "cert": None},
    }


@pytest.mark.parametrize(
    "discovery", [DNS, SRV, ETCD, CONSUL, {"source": Ours()}], ids=["dns", "srv", "etcd", "consul", "source"]
)
def test_what_was_dumped_can_be_read_again(discovery):
    settings = Settings(upstreams={"payments": {"discovery": discovery}})
    assert Settings(**settings.model_dump()) == settings


def test_one_is_as_good_as_a_list():
    assert read({"dns": {**DNS["dns"], "resolver": "10.0.0.53:53"}}).discovery.dns.resolver == ("10.0.0.53:53",)
    assert read({"dns": {**DNS["dns"], "resolver": ["[::1]:53", "consul:8600"]}}).discovery.dns.resolver == (
        "[::1]:53",
        "consul:8600",
    )
    assert read({"consul": {"service": "payments", "tags": "v2"}}).discovery.consul.tags == ("v2",)
    urls = ["http://n1:2379", "http://n2:2379/"]
    assert read({"etcd": {"url": urls, "prefix": "/"}}).discovery.etcd.url == ("http://n1:2379", "http://n2:2379")


@pytest.mark.parametrize(
    "source",
    [Ours, Watching, Ours(), Watching(), "tests.live.sources:Steps"],
    ids=["class", "watching class", "object", "watching object", "path"],
)
def test_a_source_of_ones_own(source):
    assert read({"source": source}).discovery.kind == "source"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (object(), "resolve() or watch(stop) is needed, not object"),
        (Late, "are plain, not async"),
        (LateWatching(), "are plain, not async"),
        ("no.such.module", "cannot be imported"),
        (5, "resolve() or watch(stop) is needed, not int"),
    ],
)
def test_what_is_no_source_is_refused(source, why):
    error = refused({"source": source})
    assert error.path == "upstreams.payments.discovery.source"
    assert why in str(error)


@pytest.mark.parametrize("discovery", [{}, {"interval": 5}, {**DNS, **ETCD}, {**CONSUL, "source": Ours}])
def test_it_is_of_exactly_one_kind(discovery):
    error = refused(discovery)
    assert error.path == "upstreams.payments.discovery"
    assert "exactly one of dns, srv, etcd, consul and source is needed" in str(error)


@pytest.mark.parametrize(
    ("discovery", "path"),
    [
        ({"dns": {"name": "payments.test"}}, "dns.port"),
        ({"dns": {"name": "payments.test", "port": 0}}, "dns.port"),
        ({"dns": {"name": "payments.test", "port": True}}, "dns.port"),
        ({"dns": {"name": "http://payments.test", "port": 80}}, "dns.name"),
        ({"dns": {"name": "", "port": 80}}, "dns.name"),
        ({"dns": {**DNS["dns"], "scheme": "ftp"}}, "dns.scheme"),
        ({"dns": {**DNS["dns"], "family": "ipv5"}}, "dns.family"),
        ({"dns": {**DNS["dns"], "resolver": "10.0.0.53"}}, "dns.resolver"),
        ({"dns": {**DNS["dns"], "resolver": "10.0.0.53:0"}}, "dns.resolver"),
        ({"dns": {**DNS["dns"], "resolver": "10.0.0.53:99999"}}, "dns.resolver"),
        ({"dns": {**DNS["dns"], "resolver": "me@10.0.0.53:53"}}, "dns.resolver"),
        ({"dns": {**DNS["dns"], "min_ttl": 0}}, "dns.min_ttl"),
        ({"dns": {**DNS["dns"], "min_ttl": 5, "max_ttl": 4}}, "dns"),
        ({"srv": {"name": "a b"}}, "srv.name"),
        ({"etcd": {"url": [], "prefix": "/"}}, "etcd.url"),
        ({"etcd": {"url": "n1:2379", "prefix": "/"}}, "etcd.url"),
        ({"etcd": {"url": "http://n1:2379/v3", "prefix": "/"}}, "etcd.url"),
        ({"etcd": {"url": "http://n1:2379", "prefix": ""}}, "etcd.prefix"),
        ({"etcd": {**ETCD["etcd"], "user": "me"}}, "etcd.password"),
        ({"etcd": {**ETCD["etcd"], "password": "pw"}}, "etcd.user"),
        ({"etcd": {**ETCD["etcd"], "tls": {"verify": "/no/such/file"}}}, "etcd.tls.verify"),
        ({"consul": {}}, "consul.service"),
        ({"consul": {"service": "p", "wait": 601}}, "consul.wait"),
        ({"consul": {"service": "p", "url": "unix:///run/consul.sock"}}, "consul.url"),
        ({**DNS, "interval": 0}, "interval"),
        ({**DNS, "timeout": math.inf}, "timeout"),
        ({**DNS, "first_wait": None}, "first_wait"),
        ({**DNS, "confirm_after": 0}, "confirm_after"),
        ({**DNS, "max_backoff": -1}, "max_backoff"),
        ({**DNS, "intervall": 5}, "intervall"),
    ],
)
def test_a_mistake_is_told_where_it_stands(discovery, path):
    assert refused(discovery).path == f"upstreams.payments.discovery.{path}"


def test_endpoints_beside_it_speak_what_it_says():
    read(DNS, endpoints=["http://n1"])
    error = refused(DNS, endpoints=["https://n1"])
    assert error.path == "upstreams.payments.endpoints"
    read(ETCD, endpoints=["https://n1"])


def test_nobody_is_left_without_either():
    with pytest.raises(SettingsError, match="at least one is needed") as caught:
        Settings(upstreams={"payments": {"discovery": None}})
    assert caught.value.path == "upstreams.payments.endpoints"


def test_it_is_no_setting_of_a_guard():
    with pytest.raises(SettingsError, match="unknown key"):
        Settings(guards={"inventory-db": {"discovery": DNS}})


def test_the_name_is_what_the_nodes_are_called():
    assert read(DNS).discovery.host == "payments.test:8080"
    assert read({"dns": {"name": "payments.test.", "port": 443, "scheme": "https"}}).discovery.host == "payments.test"
    assert read(ETCD).discovery.host is None


def test_secrets_are_not_shown():
    secret = "hunter2"
    settings = Settings(
        upstreams={
            "a": {"discovery": {"etcd": {**ETCD["etcd"], "user": "me", "password": secret}}},
            "b": {"discovery": {"consul": {"service": "b", "token": secret}}},
        }
    )
    assert secret not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.upstreams["b"].discovery.consul.token.get_secret_value() == secret


MISSING = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "dns" else real(name, *rest)
sys.modules["dns"] = None
from resilient_http import Resilience, SettingsError
Resilience({"upstreams": {"p": {"discovery": {"etcd": {"url": "http://n1", "prefix": "/"}}}}})
try:
    Resilience({"upstreams": {"p": {"discovery": {"dns": {"name": "n1", "port": 80}}}}})
except SettingsError as error:
    print(error)
"""


class Keeping:
    """A source of somebody's that shows its secret."""

    def __init__(self, **methods):
        self.__dict__.update(methods)

    def __repr__(self):
        return "Keeping(token='hunter2')"


def test_what_a_source_shows_of_itself_is_not_shown():
    good = read({"source": Keeping(resolve=lambda: ["http://n1"])})
    assert "hunter2" not in repr(good) + str(good)
    assert "hunter2" not in str(refused({"source": Keeping()})) + str(refused({"source": [Keeping()]}))


def test_without_the_extra_it_says_what_to_install():
    said = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=True).stdout
    assert said.startswith("upstreams.p.discovery.dns: needs the extra dns: pip install")
    assert '"resilient-http[dns]"' in said


def test_dnspython_is_imported_only_when_it_is_used():
    code = (
        "import sys; from resilient_http import Resilience;"
        'Resilience({"upstreams": {"p": {"discovery": {"dns": {"name": "n1", "port": 80}}}}});'
        "print(any(name == 'dns' or name.startswith('dns.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
