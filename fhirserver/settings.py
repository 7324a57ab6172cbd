"""What an operator may decide: one frozen object, read from `HEALTHMATE_*` variables at the roots.

https://docs.pydantic.dev/latest/concepts/pydantic_settings/
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fhirserver.fhir.definitions import r4

PREFIX = "HEALTHMATE_"
ROLES = ("patient", "practitioner", "proxy", "admin")  # of accounts

_tenant = re.compile(r"[a-z][a-z0-9-]{0,23}")
_required = re.compile(r"[A-Z][A-Za-z]*=[^\s,=]+:\S+")
_credentials = re.compile(r"(?<=://).*@|(?<=Password=)[^&]*|(?<=AWS_SESSION_TOKEN:)[^&,]*", re.IGNORECASE)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def default_base_url(host: str, port: int) -> str:
    """A base that works in a browser on this machine; behind a proxy `HEALTHMATE_BASE_URL` says the public one."""
    named = "localhost" if is_loopback(host) or host in ("0.0.0.0", "::", "[::]") else host  # noqa: S104
    return f"http://{f'[{named}]' if ':' in named else named}:{port}/fhir"


def default_auth_url(base_url: str) -> str:
    """Beside the FHIR base: https://example.org/auth for https://example.org/fhir."""
    scheme, _, rest = base_url.rstrip("/").partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://" + "/".join((host, *path.split("/")[:-1], "auth"))


class Settings(BaseSettings):
    """The settings of one server. Field descriptions are what `healthmate settings` prints."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True
    )

    mongodb_url: SecretStr | None = Field(
        None, description="MongoDB to use: a replica set or sharded cluster, 6.0 or later. Unset: an embedded mongod"
    )
    database: str = Field(
        "healthmate", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="name of the database inside MongoDB"
    )
    mongod: Path | None = Field(
        None, description="mongod program of the embedded database. Unset: the one on PATH, then the installed wheel"
    )
    cache_gb: float | None = Field(
        None,
        ge=0.25,
        description="gigabytes that the embedded database may use as cache. Unset: an eighth of the memory, 0.25 to 4",
    )
    tenants: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="names of tenants, separated by commas: each has a database and a base, [base_url]/[tenant], of its"
        " own, and [base_url] itself serves nothing. Unset: one record for all, at [base_url]",
    )
    broker_url: SecretStr | None = Field(
        None,
        description="Redis that carries messages to `healthmate worker`. Unset: the server runs a worker of its own",
    )
    data: Path = Field(Path("~/.healthmate"), description="folder of the embedded database")
    spare_disk_mb: int = Field(
        500,
        ge=0,
        description="megabytes that writes leave free on the disk of a database on this machine, so that it can go on"
        " reading when the disk is full",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    base_url: str = Field(
        default_factory=lambda values: default_base_url(values["host"], values["port"]),
        pattern=r"^https?://[^/\s]+(/[^\s?#]*)?$",
        description="public FHIR base, as clients see it",
    )
    auth_url: str = Field(
        default_factory=lambda values: default_auth_url(values["base_url"]) if "base_url" in values else "",
        pattern=r"^https?://[^/\s]+(/[^\s?#]*)?$",
        description="public base of the authorization server, as clients and browsers see it; with tenants, each has"
        " its own below it. A proxy passes it on to /auth",
    )
    sign_up: Literal["open", "invited", "off"] = Field(
        "open", description="who may make an account: anybody, who has an invitation, or nobody"
    )
    sign_up_record: bool = Field(
        False, description="whether who makes an account without an invitation gets a Patient of their own"
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="SMTP server for mail: smtp://user:password@host:587 or smtps://. Unset: mail becomes files in"
        " [data]/mail, and their links are logged",
    )
    mail_from: str = Field("HealthMate <healthmate@localhost>", description="sender of mail")
    second_factor_roles: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="roles, separated by commas, whose accounts must have an authenticator or log in by a passkey:"
        " patient, practitioner, proxy, admin",
    )
    login_failures_per_address: int = Field(
        5,
        ge=1,
        description="failed log-ins from one address before it has to wait; more where many people share one. For an"
        " account it is always 5",
    )
    password_score: int = Field(
        3, ge=0, le=4, description="least score of a new password by zxcvbn: 3 holds against a stolen database"
    )
    breached_passwords: Path | None = Field(
        None,
        description="file of stolen passwords, lines SHA1:COUNT in order as haveibeenpwned.com gives them. Unset: none",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("*",),
        description="origins, separated by commas, of web pages that may use the FHIR API with an access token;"
        " * for all, none for none",
    )
    registration: Literal["demo", "open", "off"] = Field(
        "demo",
        description="whether apps may register themselves, for what people allow them: always (open), never (off), or"
        " on a server on loopback that has demo patients or is open (demo)",
    )
    refresh_days: int = Field(
        100, ge=1, description="days for which an app can renew its access; each time it does they begin again"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="addresses and networks of the proxies before this server, separated by commas: what they add to"
        " X-Forwarded-For says who asks. Unset: nobody is believed, and log-ins through a proxy share its attempts",
    )
    requests_per_address: int | None = Field(
        None,
        ge=1,
        description="requests a minute from one address (of IPv6 a /64) to the FHIR API and to log-in; then 429. Behind"
        " a proxy, with trusted_proxies. Unset: any number",
    )
    requests_per_client: int | None = Field(
        None, ge=1, description="requests a minute of one app or service, by its access tokens. Unset: any number"
    )
    requests_per_user: int | None = Field(
        None, ge=1, description="requests a minute of one person, through whatever apps. Unset: any number"
    )
    admin_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="addresses and networks, separated by commas, from which administrators are let in, by pages and by"
        " apps; behind a proxy, with trusted_proxies. Unset: from everywhere",
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="hosts, separated by commas, that may be asked for the keys of a client (jwks_uri) though they are"
        " not on the public internet, also by plain http",
    )
    open: bool = Field(False, description="answer without authorization; loopback only")
    demo: int = Field(0, ge=0, le=10_000, description="synthetic patients to generate when the database is empty")
    secret: SecretStr | None = Field(
        None,
        description="what seals page links, the ledger of audit and keys of authenticators. Unset: one is generated"
        " and kept in the database, which says so at start-up",
    )
    audit: bool = Field(
        True, description="keep an audit event of every request; an open server, which knows nobody, keeps none"
    )
    audit_days: int | None = Field(None, ge=1, description="days for which audit events are kept. Unset: for ever")
    mirror: bool = Field(True, description="store each resource as a plain document too, for mongosh and aggregation")
    full_text: bool = Field(
        True, description="keep the words of each resource, for _text and _content; `healthmate reindex` after a change"
    )
    validation: Literal["off", "base", "profiles"] = Field(
        "base",
        description="what is written has to keep the rules of its type (base) and of the profiles it names, too"
        " (profiles); off: it has to be readable, and conformance resources have to be right",
    )
    required_profiles: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="profiles that resources of a type must keep, as TYPE=URL separated by commas; of several for a"
        " type, one. With validation=profiles",
    )
    practitioner_access: Literal["all", "organization", "care-team"] = Field(
        "all",
        description="whose records a practitioner may open: everybody's, those of patients of the organizations where"
        " they have a role, or of the patients whom they care for",
    )
    emergency_hours: float = Field(
        4.0,
        ge=0,
        le=168,
        description="for how long a practitioner who says why ($break-glass) may open the record of one more patient;"
        " 0: never",
    )
    security_labels: Literal["enforced", "ignored"] = Field(
        "enforced",
        description="what is labelled as restricted (R, V) is seen by the patient, and R by those who care for them;"
        " ignored: labels say nothing, but where a Consent names them",
    )
    referential_integrity: bool = Field(False, description="refuse references to resources that do not exist")
    conditional_delete: Literal["single", "multiple"] = Field(
        "single", description="whether a conditional delete may delete several matches at once"
    )
    default_count: int = Field(20, ge=1, description="entries on a page when the client does not say")
    max_count: int = Field(1000, ge=1, description="most entries on a page, whatever the client says")
    max_body_bytes: int = Field(10_000_000, ge=1024, description="largest request body, before and after gunzip")
    max_response_bytes: int = Field(
        64 * 2**20,
        ge=1024,
        description="largest page of a search, a history or $everything, and answer to a batch or transaction, in bytes"
        " of JSON: pages end early and have a next link; what cannot be cut is refused",
    )
    search_timeout_ms: int = Field(4_000, ge=1, description="time one search may take in the database")
    request_timeout: float = Field(4.0, gt=0, description="seconds one request may wait for the database")
    job_lease_seconds: float = Field(
        60.0, ge=0.1, description="seconds of silence after which another worker goes on with a job"
    )
    job_sweep_seconds: float = Field(10.0, ge=0.1, description="how often workers look for jobs that nobody does")
    job_retention_days: int = Field(30, ge=1, description="days for which a job that ended can be asked about")
    max_at_work: int = Field(64, ge=1, description="requests that one server process works on at once; others wait")
    max_wide_at_work: int = Field(
        32,
        ge=1,
        description="of these, searches and whatever else may touch many resources; the rest is for single ones",
    )
    max_waiting: int = Field(2_000, ge=0, description="requests that may wait; beyond, 503 with Retry-After")
    max_waiting_seconds: float = Field(30.0, gt=0, description="how long a request may wait for its turn; then, 503")
    max_bodies_mb: int = Field(
        200,
        ge=1,
        description="megabytes of request bodies that one server process holds at once: arriving, waiting and at work;"
        " beyond, 503 with Retry-After. Decoded, JSON takes some times as much memory",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line to log")

    @field_validator("data", "mongod", "breached_passwords")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator(
        "tenants",
        "second_factor_roles",
        "trusted_hosts",
        "trusted_proxies",
        "admin_networks",
        "cors_origins",
        "required_profiles",
        mode="before",
    )
    @classmethod
    def _separated(cls, names: str | tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.strip() for name in names.split(",") if name.strip()) if isinstance(names, str) else names

    @field_validator("tenants")
    @classmethod
    def _nameable(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _tenant.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a tenant: 1 to 24 of a-z, 0-9 and '-', a letter first")
        if len(set(names)) < len(names):
            raise ValueError("a tenant stands twice")
        return names

    @field_validator("required_profiles")
    @classmethod
    def _profiles(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        for pair in pairs:
            if not _required.fullmatch(pair):
                raise ValueError(f"{pair!r} names no profile: write Patient=http://example.org/the-profile")
            if pair.partition("=")[0] not in r4().resource_types:
                raise ValueError(f"{pair!r} names no resource type of FHIR R4")
        return pairs

    @field_validator("second_factor_roles")
    @classmethod
    def _roles(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ROLES:
                raise ValueError(f"{name!r} is no role: there are {', '.join(ROLES)}")
        return names

    @field_validator("trusted_proxies", "admin_networks")
    @classmethod
    def _networks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(name, strict=False)) for name in names)

    @field_validator("broker_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("the broker is a Redis: redis://[user:password@]host[:port][/number], rediss:// with TLS")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, url: SecretStr | None) -> SecretStr | None:
        if url and not re.match(r"smtps?://[^/?#]+/?$", url.get_secret_value()):
            raise ValueError("the mail server is smtp://[user:password@]host[:port], or smtps:// with TLS")
        return url

    @field_validator("base_url", "auth_url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        return url.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.open and not is_loopback(self.host):
            raise ValueError(
                f"open turns authorization off, so it is refused on {self.host}: only this machine may reach such a"
                " server. Use host 127.0.0.1, or leave open out"
            )
        if self.required_profiles and self.validation != "profiles":
            raise ValueError("required_profiles are asked for with validation=profiles only")
        if self.default_count > self.max_count:
            raise ValueError(f"default_count {self.default_count} is larger than max_count {self.max_count}")
        return self

    def of_tenant(self, name: str) -> Self:
        """The settings of one tenant: what is called in its own terms knows of no other."""
        secret = self.secret and hmac.digest(self.secret.get_secret_value().encode(), name.encode(), hashlib.sha256)
        return self.model_copy(
            update={
                "tenants": (),
                "database": f"{self.database}-{name}",
                "base_url": f"{self.base_url}/{name}",
                "auth_url": f"{self.auth_url}/{name}",
                "secret": secret and SecretStr(secret.hex()),
            }
        )

    def partitions(self) -> dict[str, Self]:
        """The settings of each tenant by its name; of the one record, under "", where there are none."""
        return {name: self.of_tenant(name) for name in self.tenants} or {"": self}


def masked(url: str) -> str:
    """A URL of MongoDB or Redis without its user and secrets."""
    return _credentials.sub(lambda secret: "***@" if secret[0].endswith("@") else "***", url)


def shown(settings: Settings) -> Iterable[tuple[str, str, str]]:
    """(variable, value, what it decides) with every secret masked."""
    for name, field in Settings.model_fields.items():
        yield PREFIX + name.upper(), _printable(name, getattr(settings, name)), field.description or ""


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """`HEALTHMATE_*` variables that no setting reads: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def _printable(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("mongodb_url", "broker_url", "smtp_url"):
        return masked(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
