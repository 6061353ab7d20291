"""The seam where errors of botocore become errors of ecm; the status codes of S3 are known here.

What was tried again often enough is StoreUnavailable, what no further try mends a ConfigError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ecm.errors import ConfigError, EcmError, StoreUnavailable
from ecm.evidence.faults import without_secrets

ABSENT: Final = ("NoSuchKey", "404", "NotFound")
REFUSED: Final = ("PreconditionFailed", "412")
RACED: Final = ("ConditionalRequestConflict", "OperationAborted")

_NO_BUCKET: Final = ("NoSuchBucket", "InvalidBucketName")
_DENIED: Final = (
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "401",
    "403",
)


def error_code(error: Any) -> str:
    """The code of a botocore ClientError."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def object_errors(what: str, bucket: str) -> Iterator[None]:
    """Translate what botocore raises inside; `what` names the object and the act, for a person.

    Raises ConfigError (no bucket, no or bad credentials, wrong region) or StoreUnavailable. Codes
    of ABSENT and REFUSED are the caller's to handle.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise _of_answer(what, bucket, error) from None
    except (BotoCoreError, HTTPError, OSError, ValueError) as error:
        raise _of_failure(what, error) from None


def _of_answer(what: str, bucket: str, error: Any) -> EcmError:
    code = error_code(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    line = without_secrets(" ".join(f"{what}: {code or 'refused'} {said}".split())[:300])
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NO_BUCKET:
        return ConfigError(
            f"no bucket {bucket} on the object storage",
            code="config.bucket",
            hint="create it, or check evidence.uri, region and endpoint",
        )
    if code in _DENIED or status in (401, 403):
        return ConfigError(
            line,
            code="config.credentials",
            hint="check the AWS_ variables or evidence.storage_options, and what the key may do",
        )
    if status in (301, 307, 400, 405, 501):
        return ConfigError(
            line, code="config.object_storage", hint="check region and endpoint of the storage"
        )
    return StoreUnavailable(line, hint="the object storage is overloaded or away; try again later")


def _of_failure(what: str, error: Exception) -> EcmError:
    from botocore.exceptions import (
        CredentialRetrievalError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
        TokenRetrievalError,
    )

    line = without_secrets(" ".join(f"{what}: {error}".split())[:300])
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return ConfigError(
            line,
            code="config.credentials",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if isinstance(error, TokenRetrievalError | ProfileNotFound):
        return ConfigError(line, code="config.credentials", hint="check AWS_PROFILE")
    if isinstance(error, ValueError | ParamValidationError | NoRegionError):
        return ConfigError(
            line, code="config.object_storage", hint="check region and endpoint of the storage"
        )
    return StoreUnavailable(line, hint="check the endpoint and the network")
