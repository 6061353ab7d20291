"""What reaching S3 takes: bucket and prefix, endpoint, region, credentials, and how long to try.

Settings come from `evidence.storage_options`, else from the environment and the AWS profile as
botocore reads them. Knows what Lance calls them. Opens no connection and logs nothing.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from typing import Any, Final

from ecm.errors import ConfigError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.faults import conceal, without_secrets

CONNECT_SECONDS: Final = 5.0

_BUCKET: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$")
_PREFIX: Final = re.compile(r"^[^\x00-\x1f%?#\\*:|\"<>\x7f]*$")
_OF_AMAZON: Final = re.compile(r"^https://s3([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?$")
_OPTIONS: Final = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
    "region": "region_name",
    "endpoint": "endpoint_url",
    "virtual_hosted_style_request": "virtual",
}
"""Our name of each option, and what it is called here; `aws_` may stand before ours."""
_ALIASES: Final = {"endpoint_url": "endpoint", "default_region": "region"}
_CREDENTIALS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_SECRET_VARIABLES: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class ObjectAccess:
    """How object storage is reached; `given` holds the credentials of the profile, never shown.

    Two stores that are reached alike have equal ones, whatever their buckets.
    """

    endpoint: str | None
    region: str | None
    virtual: bool
    attempts: int
    timeout: float
    given: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def of(cls, config: EvidenceConfig) -> ObjectAccess:
        """That of a store on S3. Raises ConfigError, which names no secret."""
        options = _named(config)
        given = {name: options.pop(name) for name in _CREDENTIALS if name in options}
        conceal([given.get(name, "") for name in _CREDENTIALS[1:]])
        conceal([os.environ.get(name, "") for name in _SECRET_VARIABLES])
        if given and not {"aws_access_key_id", "aws_secret_access_key"} <= set(given):
            raise ConfigError(
                "evidence.storage_options has half of the credentials",
                hint="give access_key_id and secret_access_key, or neither and set AWS_ variables",
            )
        return cls(
            endpoint=options.get("endpoint_url"),
            region=options.get("region_name"),
            virtual=_truth(options.get("virtual", "false")),
            attempts=config.object_attempts,
            timeout=config.object_timeout_seconds,
            given=tuple(given.items()),
        )

    def client(self) -> Any:
        """A botocore client. Thread-safe, but not to be used across a fork.

        Raises ConfigError for an endpoint or a profile that botocore does not accept.
        """
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        style = "virtual" if self.virtual else "auto"
        try:
            client = botocore.session.Session().create_client(
                "s3",
                endpoint_url=self.endpoint,
                region_name=self.region,
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": self.attempts},
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=self.timeout,
                    max_pool_connections=32,
                    s3={"addressing_style": style},
                ),
                **dict(self.given),
            )
        except (BotoCoreError, ValueError) as error:
            line = without_secrets(" ".join(str(error).split()))[:200]
            raise ConfigError(
                f"S3 cannot be set up: {line}",
                code="config.object_storage",
                hint="check evidence.storage_options and the AWS_ variables",
            ) from None
        return client

    def lance_options(self, client: Any) -> dict[str, str]:
        """The same for Lance, as botocore has resolved it.

        Credentials that were not given are left to Lance, which reads the environment and the AWS
        profile itself and renews those that expire.
        """
        options = {
            **dict(self.given),
            "client_max_retries": str(self.attempts - 1),
            "client_retry_timeout": f"{4 * self.timeout:.0f}",
            "connect_timeout": f"{CONNECT_SECONDS:.0f}s",
            "timeout": f"{3 * self.timeout:.0f}s",
            "virtual_hosted_style_request": str(self.virtual).lower(),
        }
        endpoint = str(client.meta.endpoint_url)
        if not _OF_AMAZON.match(endpoint):
            options["endpoint"] = endpoint
            options["allow_http"] = str(endpoint.startswith("http://")).lower()
        region = client.meta.region_name
        if region and region != "aws-global":
            options["region"] = str(region)
        return options


def place_of(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`, neither with a slash at an end.

    Raises ConfigError, which shows no credentials.
    """
    bucket, _, prefix = uri.split("://", 1)[1].partition("/")
    prefix = prefix.strip("/")
    if "@" in bucket:
        raise ConfigError(
            "credentials do not belong into evidence.uri",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or evidence.storage_options",
        )
    if not _BUCKET.match(bucket):
        raise ConfigError(f"no bucket in evidence.uri {uri!r}", hint="write s3://bucket/prefix")
    parts = prefix.split("/") if prefix else []
    if not _PREFIX.match(prefix) or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(
            f"evidence.uri {uri!r} is not a plain prefix",
            hint="write s3://bucket/prefix with letters, digits, spaces, - and _",
        )
    return bucket, prefix


def _named(config: EvidenceConfig) -> dict[str, str]:
    """The options under the names used here. Raises ConfigError for one that is not known."""
    named: dict[str, str] = {}
    for name, value in config.storage_options.items():
        plain = name.lower().removeprefix("aws_")
        plain = _ALIASES.get(plain, plain)
        if plain not in _OPTIONS:
            near = difflib.get_close_matches(plain, _OPTIONS, n=1)
            raise ConfigError(
                f"unknown key evidence.storage_options.{name}",
                code="config.unknown_key",
                hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(_OPTIONS)}",
            )
        named[_OPTIONS[plain]] = value.get_secret_value().strip()
    return named


def _truth(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ConfigError(
            "evidence.storage_options.virtual_hosted_style_request is neither true nor false"
        )
    return value.lower() == "true"
