"""Words of Lance about object storage become the right errors, without secrets and places."""

from __future__ import annotations

import traceback

import pytest

from ecm.errors import ConfigError, EcmError, ResourceExhausted, StoreCorrupt, StoreUnavailable
from ecm.evidence.faults import conceal, lance_errors, without_secrets

SECRET = "wJalr/XUtnFEMI+K7MDENG"
PLACE = ", /home/runner/work/lance/lance/rust/lance-io/src/object_store.rs:1576:42"


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (
            "LanceError(IO): Generic S3 error: Error performing GET http://h/b?list-type=2 in 41ms"
            ", after 3 retries, max_retries: 3, retry_timeout: 30s  - HTTP error: error sending "
            "request",
            StoreUnavailable,
            "store.unavailable",
        ),
        (
            "Generic S3 error: Error performing PUT http://h/b/x in 2s, after 4 retries - Server "
            "returned error response: status code: 503 <Error><Code>SlowDown</Code></Error>",
            StoreUnavailable,
            "store.unavailable",
        ),
        ("error decoding response body", StoreUnavailable, "store.unavailable"),
        (
            "Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>",
            ConfigError,
            "config.bucket",
        ),
        (
            "Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>",
            ConfigError,
            "config.credentials",
        ),
        (
            "Server returned error response: status code: 301 <Code>PermanentRedirect</Code>",
            ConfigError,
            "config.object_storage",
        ),
        ("Failed to get AWS credentials: ProviderError", ConfigError, "config.credentials"),
        ("Dataset already exists: s3://b/t.lance", StoreUnavailable, "store.conflict"),
        ("Retryable commit conflict for version 2", StoreUnavailable, "store.conflict"),
        ("Dataset at path t.lance was not found: Not found", StoreCorrupt, "store.corrupt"),
        ("No space left on device (os error 28)", ResourceExhausted, "resource"),
    ],
)
def test_words_are_sorted_into_errors(words: str, error: type[EcmError], code: str) -> None:
    with pytest.raises(error) as caught, lance_errors("cannot open t"):
        raise OSError(words + PLACE + "\nmore")
    assert caught.value.code == code
    assert caught.value.message.startswith("cannot open t: ")
    assert "/home/" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_concealed_is_in_no_message_and_no_traceback() -> None:
    conceal([f"{SECRET}\n", "", "short"])
    assert without_secrets(f"a {SECRET} b wJalr%2FXUtnFEMI%2BK7MDENG short") == "a *** b *** short"
    for kind in (OSError, ValueError, type("PanicException", (BaseException,), {})):
        with pytest.raises(EcmError) as caught, lance_errors("cannot open t"):
            raise kind(f"the request was signed with {SECRET}")
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert "signed with ***" in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
