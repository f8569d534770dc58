"""The settings and their defaults. Durations are float seconds, ratios 0 to 1; `None` switches a policy off.

Layers (defaults, then the upstream's own) are merged as raw mappings (merging.py) and validated once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import ValidationError, field_validator, model_validator

from resilient_http.errors import SettingsError, SettingsMistake
from resilient_http.settings.chaos import ChaosPermitSettings
from resilient_http.settings.console import ConsoleSettings
from resilient_http.settings.endpoints import Zone
from resilient_http.settings.environment import layers_of
from resilient_http.settings.explanation import explained, origin_of
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.inbound import InboundSettings
from resilient_http.settings.keys import NEW_PROCESS
from resilient_http.settings.limits import RateLimitSettings
from resilient_http.settings.merging import as_raw, inherit, merge
from resilient_http.settings.misplaced import MisplacedSettings
from resilient_http.settings.origins import (
    ORIGINS,
    WRITTEN,
    Layer,
    Origin,
    Source,
    Written,
    hollow,
    nearest_origin,
    told,
    untold,
)
from resilient_http.settings.routes import SHARED, SHARED_BY_ALL
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.spelling import lower_keys, respell
from resilient_http.settings.telemetry import LoggingSettings, TelemetrySettings
from resilient_http.settings.upstream import UpstreamSettings, chaos_of
from resilient_http.settings.validation import (
    TOO_DEEP,
    Found,
    Model,
    Wrong,
    mistake_at,
    mistakes_at,
    mistakes_in,
    nearest,
    settings_error,
    wrong_names,
)
from resilient_http.settings.values import Count
from resilient_http.settings.watch import WatchSettings

__all__ = ["Settings", "UpstreamSettings"]


class Settings(Model):
    """The settings of a process.

    Attributes:
        enabled: False is plain httpx with the same API: endpoints are chosen, nothing else happens. The environment
            variable `RESILIENT_HTTP_ENABLED=false` does the same, whatever the settings say.
        backend: "httpx", or its successor "httpx2".
        engine: What async clients connect with: "default", or "aiohttp" (needs the extra `aiohttp`), which is faster,
            for asyncio only, and neither speaks HTTP/2 nor goes through a proxy. Sync clients have the default one.
        inbound: See InboundSettings.
        misplaced: See MisplacedSettings.
        zone: Where this process stands; endpoints of that zone are preferred. None for no preference.
        unnamed_upstreams: Most origins that no upstream is named for and whose state is kept; beyond it the one unused
            for longest is forgotten, never one in use.
        shared: See SharedSettings; None for a process that shares nothing with others. Needs the extra `redis`.
        watch: See WatchSettings; None for settings that nothing changes from afar.
        telemetry: See TelemetrySettings.
        logging: See LoggingSettings.
        chaos: See ChaosPermitSettings.
        console: See ConsoleSettings.
        defaults: What every upstream inherits, and all that an unnamed one has: the keys of an upstream, but
            `endpoints`, `discovery`, `host` and `chaos`.
        upstreams: Name (a lower-case DNS label) to its settings.
        guards: Name to the settings of what is not HTTP; see GuardSettings. They inherit nothing from `defaults`.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """

    enabled: bool = True
    backend: Annotated[Literal["httpx", "httpx2"], NEW_PROCESS] = "httpx"
    engine: Annotated[Literal["default", "aiohttp"], NEW_PROCESS] = "default"
    inbound: InboundSettings = InboundSettings()
    misplaced: MisplacedSettings = MisplacedSettings()
    zone: Zone | None = None
    unnamed_upstreams: Count = 1000
    shared: Annotated[SharedSettings | None, NEW_PROCESS] = None
    watch: Annotated[WatchSettings | None, NEW_PROCESS] = None
    telemetry: Annotated[TelemetrySettings, NEW_PROCESS] = TelemetrySettings()
    logging: Annotated[LoggingSettings, NEW_PROCESS] = LoggingSettings()
    chaos: ChaosPermitSettings = ChaosPermitSettings()
    console: Annotated[ConsoleSettings, NEW_PROCESS] = ConsoleSettings()
    defaults: UpstreamSettings = UpstreamSettings()
    upstreams: Mapping[str, UpstreamSettings] = {}
    guards: Mapping[str, GuardSettings] = {}

    def __init__(self, **settings: Any) -> None:
        self._take([(Source("settings"), settings)])

    @classmethod
    def of_layers(cls, layers: Iterable[Layer]) -> Settings:
        """The settings that layers make together, the lowest first; see load_settings().

        Args:
            layers: Each a Source, and what was read from it, keys in lower case.

        Raises:
            SettingsError: Something is wrong; all of it, each with its path, its value, and the file it stands in.
        """
        self = cls.__new__(cls)
        self._take(layers)
        return self

    def under(self, *above: Layer) -> Settings:
        """These settings as they were written, under more layers: what inherits a value inherits the new one.

        Raises:
            SettingsError: Something is wrong; all of it.
        """
        written: Written | None = self.__dict__.get(WRITTEN)
        below = [(Source("settings"), as_raw(self))] if written is None else written.layers
        return Settings.of_layers([*below, *above])

    @classmethod
    def from_upper_case(
        cls, raw: object, *, root: str = "RESILIENT_HTTP", environment: Mapping[str, str] | None = None
    ) -> Settings:
        """Settings whose option keys are in upper case, as in Django's settings.

        Args:
            raw: A mapping, or Settings(...) as they are.
            root: Name of the variable that holds them, for error messages.
            environment: Environment variables that go over them; those that name no setting are left alone.

        Raises:
            SettingsError: Something is wrong; paths are as the user wrote them, `RESILIENT_HTTP["UPSTREAMS"]...`.
        """
        if isinstance(raw, Settings):
            return raw
        if not isinstance(raw, Mapping):
            message = f"{root} is a dict of settings, not {type(raw).__name__}"
            raise SettingsError(message, path=root, value=raw)
        try:
            lowest = (Source(root, "module"), lower_keys(raw, root=root))
        except RecursionError:
            raise SettingsError(f"{root}: {TOO_DEEP}", path=root) from None
        above = layers_of(environment or {}, cls, strict=False)
        try:
            return cls.of_layers([lowest, *above])
        except SettingsError as exc:
            raise respell(exc, root) from None

    def origin_of(self, path: str | Sequence[str]) -> Origin:
        """Where a value comes from: a file, a variable, a mapping, or the defaults of the library.

        Args:
            path: As "upstreams.payments.retry.max_attempts"; or its parts, where a name has dots in it.

        Raises:
            KeyError: There is no such key.
        """
        return origin_of(self, path)

    def explained(self, *below: str) -> list[dict[str, Any]]:
        """JSON-able: each value with its path and its origin, for a person. Secrets are masked.

        Args:
            below: The key that it is to be of, as "upstreams", "payments"; none for all of them.

        Raises:
            KeyError: There is no such key.
        """
        return explained(self, below)

    def _take(self, layers: Iterable[Layer]) -> None:
        try:
            self._take_all(layers)
        except RecursionError:
            raise SettingsError(f"settings: {TOO_DEEP}") from None

    def _take_all(self, layers: Iterable[Layer]) -> None:
        tree: Any = {}
        layers = [(source, as_raw(raw)) for source, raw in layers]
        for source, raw in layers:
            tree = merge(tree, told(raw, source))
        found = _shared_in_routes(tree)
        tree = inherit(tree)
        try:
            super().__init__(**untold(tree))
        except ValidationError as exc:
            found += mistakes_in(exc, type(self))
        if found:
            raise settings_error([(_placed(mistake, tree), value) for mistake, value in found])
        # No fields: they are no part of what is compared.
        self.__dict__[ORIGINS] = hollow(tree)
        self.__dict__[WRITTEN] = Written(tuple(layers))

    @model_validator(mode="after")
    def _engine_can(self) -> Self:
        message = 'the engine "aiohttp" cannot do that; leave this out, or leave `engine` at "default"'
        wrong: list[Wrong] = []
        for path, upstream in self._all() if self.engine == "aiohttp" else ():
            wrong += [((*path, key), message, ()) for key in ("http2", "proxy") if getattr(upstream, key)]
        if wrong:
            raise mistakes_at(wrong)
        return self

    @model_validator(mode="after")
    def _shared_somewhere(self) -> Self:
        message = 'needs a Redis at the root: "shared": {"redis": "redis://..."}'
        upstreams = self._all()
        circuits = [(path, upstream.circuit) for path, upstream in upstreams]
        circuits += [(("guards", name), guard.circuit) for name, guard in self.guards.items()]
        sharing = [(*path, "circuit", "shared") for path, circuit in circuits if circuit is not None and circuit.shared]
        rates = [(path, own.rate_limit) for path, own in upstreams if own.rate_limit is not None]
        rates = [(path, rate) for path, rate in rates if rate.shared]
        sharing += [(*path, "rate_limit", "shared") for path, _ in rates]
        if self.shared is None and sharing:
            raise mistakes_at((path, message, ()) for path in sharing)
        for path, rate in rates:
            if self.shared is not None:
                _leased_in_time(path, rate, self.shared)
        return self

    @model_validator(mode="after")
    def _chaos_is_allowed(self) -> Self:
        allowed, names = self.chaos.allowed, tuple(self.upstreams)
        wrong: list[Wrong] = [
            (("chaos", "allowed"), f"{name}: no such upstream", nearest(name, names))
            for name in allowed
            if name not in names
        ]
        for path, upstream in self._all():
            for below, chaos in chaos_of(upstream):
                if path[-1] not in allowed or path == ("defaults",):
                    message = DEFAULTS_ARE_CALM if path == ("defaults",) else NOT_ALLOWED.format(path[-1])
                    wrong.append(((*path, *below), message, ()))
                elif chaos.by_header and self.chaos.key is None:
                    wrong.append(((*path, *below, "by_header"), "needs `chaos.key` at the root, which signs it", ()))
        if wrong:
            raise mistakes_at(wrong)
        return self

    def _all(self) -> list[tuple[tuple[str, ...], UpstreamSettings]]:
        """The settings of all upstreams and of unnamed ones, each with its path."""
        upstreams: list[tuple[tuple[str, ...], UpstreamSettings]] = [(("defaults",), self.defaults)]
        return upstreams + [(("upstreams", name), upstream) for name, upstream in self.upstreams.items()]

    @field_validator("defaults")
    @classmethod
    def _without_endpoints(cls, defaults: UpstreamSettings) -> UpstreamSettings:
        if defaults.endpoints or defaults.host or defaults.discovery:
            message = "endpoints, discovery and host belong to one upstream, not to the defaults"
            raise ValueError(message)
        return defaults

    @field_validator("upstreams")
    @classmethod
    def _named_and_reachable(cls, upstreams: Mapping[str, UpstreamSettings]) -> Mapping[str, UpstreamSettings]:
        needed = 'at least one is needed, as in ["http://10.0.0.1:8080"], or discovery'
        wrong = list(wrong_names(upstreams))
        nowhere = [name for name, own in upstreams.items() if not own.endpoints and own.discovery is None]
        wrong += [((name, "endpoints"), needed, ()) for name in nowhere]
        if wrong:
            raise mistakes_at(wrong)
        return upstreams

    @field_validator("guards")
    @classmethod
    def _guards_are_named(cls, guards: Mapping[str, GuardSettings]) -> Mapping[str, GuardSettings]:
        wrong = list(wrong_names(guards, what="a guard's"))
        if wrong:
            raise mistakes_at(wrong)
        return guards

    @model_validator(mode="after")
    def _one_name_one_thing(self) -> Self:
        for name in self.guards:
            if name in self.upstreams:
                raise mistake_at("guards", name, message="an upstream has that name already")
        return self


NOT_ALLOWED = (
    'faults are injected where the root allows it by name alone: "chaos": {{"allowed": ["{0}"]}}; '
    "leave this out in production"
)
DEFAULTS_ARE_CALM = "faults are injected into the calls of one upstream, which `chaos.allowed` names; not into all"


def _shared_in_routes(tree: Mapping[str, Any]) -> list[Found]:
    """What routes say of what all calls of their upstream share; before they inherit that."""
    upstreams = tree.get("upstreams")
    above = [(("upstreams", name), own) for name, own in upstreams.items()] if isinstance(upstreams, Mapping) else []
    found: list[Found] = []
    for path, own in [(("defaults",), tree.get("defaults")), *above]:
        routes = own.get("routes") if isinstance(own, Mapping) else None
        for name, route in routes.items() if isinstance(routes, Mapping) else ():
            found += [
                (SettingsMistake((*path, "routes", name, key, shared), SHARED_BY_ALL), None)
                for key, below in SHARED.items()
                for shared in below
                if isinstance(route, Mapping) and isinstance(route.get(key), Mapping) and shared in route[key]
            ]
    return found


def _placed(mistake: SettingsMistake, tree: Any) -> SettingsMistake:
    """The same, with what it was read from, where that says more than the path."""
    source = nearest_origin(tree, mistake.path).source
    return mistake if source is None or source.kind in {"mapping", "module"} else replace(mistake, source=source.name)


def _leased_in_time(path: tuple[str, ...], own: RateLimitSettings, shared: SharedSettings) -> None:
    # Nothing is sent between two leases but what was leased, and the burst bounds that.
    least = own.rate * shared.interval / 2
    if own.kept < least:
        message = (
            f"{own.kept:g} is less than is sent in half of shared.interval ({least:g}), "
            "so the rate could not be reached; raise it, or lower shared.interval"
        )
        raise mistake_at(*path, "rate_limit", "burst", message=message)
