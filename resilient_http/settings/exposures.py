"""Exposures: what is right on a developer's machine, and lets others in when it is deployed; see advice.py."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from pydantic import SecretStr

from resilient_http.settings.explanation import leaves
from resilient_http.settings.likely_mistakes import Found, Rule, Subject
from resilient_http.settings.models import Settings
from resilient_http.settings.upstream import chaos_of

OWN_NETWORK = (
    ".internal", ".local", ".localhost", ".lan", ".home.arpa", ".intranet", ".corp", ".svc", ".cluster.local",
    ".consul", ".test",
)  # fmt: skip
"""What names of hosts end in that no public name server answers for; a name without a dot is none of its either."""


def unverified(subject: Subject) -> Iterator[Found]:
    """W101: whoever stands in between is believed."""
    if subject.own.tls.verify is False and subject.route is None:
        message = "certificates are not verified: whoever stands in between can read and answer"
        yield ("tls", "verify"), message, "Give the path of the bundle of the authority that signs them."


def in_the_open(subject: Subject) -> Iterator[Found]:
    """W102: what is sent can be read on its way."""
    open_to_all = [endpoint.url for endpoint in subject.own.endpoints if _is_open(endpoint.url)]
    if open_to_all and subject.route is None:
        message = f"{', '.join(open_to_all)}: neither https nor in a network of one's own"
        yield ("endpoints",), message, "Use https."


def baggage_for_all(subject: Subject) -> Iterator[Found]:
    """W103: what callers said of a request is told to strangers."""
    if subject.path == ("defaults",) and subject.own.propagate == "all":
        message = '"all" sends baggage to every host that is called, those that no upstream names included'
        yield ("propagate",), message, "Set it for the upstreams that are your own."


RULES: dict[str, Rule] = {"W101": unverified, "W102": in_the_open, "W103": baggage_for_all}


def trusted_world(settings: Settings) -> Iterator[Found]:
    """W104: anybody may say how long a request takes, and that it is critical."""
    peers = [peer for peer in settings.inbound.trusted_peers if peer != "unix"]
    world = [peer for peer in peers if ip_network(peer, strict=False).prefixlen == 0]
    if world:
        message = f"{', '.join(world)} is everybody: any caller may lengthen deadlines and jump queues"
        yield ("inbound", "trusted_peers"), message, "List the networks of your own proxies."


def written_secrets(settings: Settings) -> Iterator[Found]:
    """W105: a secret stands in a file."""
    for path, value, _ in leaves(settings):
        for secret in (value, *(value.values() if isinstance(value, dict) else ())):
            source = settings.origin_of(path).source
            if source is not None and source.kind == "file" and isinstance(secret, SecretStr) and _is_secret(secret):
                variable = "RESILIENT_HTTP_" + "__".join(path).upper().replace("-", "_")
                yield path, "a secret stands in a file", f"Give it by the environment, {variable}, or a mapping."
                break


def faults_injected(settings: Settings) -> Iterator[Found]:
    """W106: calls fail on purpose."""
    for name, upstream in settings.upstreams.items():
        for below, chaos in chaos_of(upstream):
            end = "" if chaos.until is None else f", until {chaos.until.isoformat()}"
            message = "faults are injected into its calls" + (f", for {chaos.lasts:g} s" if chaos.lasts else end)
            if not chaos.any:
                message = "whoever has a signed header has faults injected into its calls"
            yield ("upstreams", name, *below), message, "Leave it out where people depend on the calls."


OF_THE_PROCESS = {"W104": trusted_world, "W105": written_secrets, "W106": faults_injected}


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme != "http":
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return "." in host and not f".{host}".endswith(OWN_NETWORK)
    return address.is_global


def _is_secret(secret: SecretStr) -> bool:
    """A URL is one when it has credentials in it."""
    value = secret.get_secret_value()
    return "@" in urlsplit(value).netloc if "://" in value else bool(value)
