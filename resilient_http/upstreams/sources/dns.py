"""DNS: the addresses of a name, for as long as they are valid.

Each answer is of both families. Where one of them fails and the other does not, its last addresses still hold. A name
that does not exist, or has no address, is a failure with that reason; so are SERVFAIL and silence.

dnspython asks again over TCP what was truncated, follows CNAMEs, and takes the shortest TTL on the way.

Source: RFC 1035 (answers, truncation), RFC 2308 (NXDOMAIN and NODATA).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from resilient_http.settings.discovery import DnsSettings, SrvSettings
from resilient_http.upstreams.sources.source import Discovered, SourceFailed

FAMILIES = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}


class Dns:
    """The A and AAAA records of a name. A DiscoverySource.

    Args:
        settings: The name, and whom to ask.
        timeout: Seconds for one question.
    """

    def __init__(self, settings: DnsSettings, timeout: float) -> None:
        self._settings = settings
        self._ask = Asking(settings.resolver, timeout)
        self._known: dict[str, list[str]] = {}

    def resolve(self) -> Discovered:
        """Its addresses."""
        own = self._settings
        ttls: list[float] = []
        failures: list[SourceFailed] = []
        for family in FAMILIES[own.family]:
            try:
                answer = self._ask(own.name, family)
            except SourceFailed as exc:
                failures.append(exc)
            else:
                self._known[family] = [record.address for record in answer]
                ttls.append(answer.ttl)
        if not ttls:
            raise failures[0]
        addresses = [address for family in FAMILIES[own.family] for address in self._known.get(family, ())]
        if not addresses:
            raise SourceFailed("the name has no address")
        return Discovered([url(own.scheme, address, own.port) for address in addresses], bounded(own, min(ttls)))


class Records(list[Any]):
    """Records of a name.

    Attributes:
        ttl: Seconds for which they are valid.
        more: The message that they came in, for what else it tells.
    """

    ttl: float
    more: Any = None


class Asking:
    """Questions to name servers.

    Args:
        resolver: The servers as "10.0.0.53:53"; none for the system's.
        timeout: Seconds for one question.
    """

    def __init__(self, resolver: Sequence[str], timeout: float) -> None:
        self._servers = resolver
        self._timeout = timeout

    def __call__(self, name: str, kind: str) -> Records:
        """The records of that kind; an empty list where the name has none.

        Raises:
            SourceFailed: There is no answer, or none to that name.
        """
        # An extra, imported only when used.
        from dns.exception import DNSException, Timeout  # noqa: PLC0415
        from dns.resolver import NXDOMAIN, NoNameservers, NoResolverConfiguration  # noqa: PLC0415

        try:
            answer = self._resolver().resolve(
                name, kind, lifetime=self._timeout, search=not self._servers, raise_on_no_answer=False
            )
        except NXDOMAIN:
            raise SourceFailed("NXDOMAIN: there is no such name") from None
        except Timeout:
            raise SourceFailed("no name server answered in time") from None
        except NoNameservers as exc:
            raise SourceFailed(_refusal(exc)) from None
        except NoResolverConfiguration:
            raise SourceFailed("this system names no name server") from None
        except DNSException as exc:
            raise SourceFailed(type(exc).__name__) from None
        records = Records(answer.rrset or ())
        records.ttl = answer.chaining_result.minimum_ttl
        records.more = answer.response
        return records

    def _resolver(self) -> Any:
        from dns.nameserver import Do53Nameserver  # noqa: PLC0415
        from dns.resolver import Resolver  # noqa: PLC0415

        resolver = Resolver(configure=not self._servers)  # anew each time: /etc/resolv.conf may have changed
        if self._servers:
            resolver.nameservers = [Do53Nameserver(*address) for address in _addresses(self._servers)]
        resolver.timeout = self._timeout / 2  # so that a second server has its turn, or a lost packet is sent again
        return resolver


def _addresses(servers: Sequence[str]) -> list[tuple[str, int]]:
    addresses = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        except OSError:
            continue
        addresses += [(str(address[0]), int(address[1])) for *_, address in found]
    if not addresses:
        raise SourceFailed("the name of the name server cannot be looked up")
    return addresses


def url(scheme: str, host: str, port: int) -> str:
    """An endpoint's."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def bounded(settings: DnsSettings | SrvSettings, ttl: float) -> float:
    """A TTL within the bounds of the settings."""
    return max(settings.min_ttl, min(ttl, settings.max_ttl))


def _refusal(error: Any) -> str:
    """What the servers said, as SERVFAIL."""
    said = sorted({each[3] for each in error.kwargs.get("errors", ()) if isinstance(each[3], str)})
    return f"the name servers answered {' and '.join(said)}" if said else "no name server gave a good answer"
