"""A server of the S3 protocol on this machine (moto, in memory) for tests of stores that lie on it.

One per test session; every store gets a bucket of its own. Knows no fixtures and injects no
faults: `tests/object_trouble.py` stands in front of it for that.
"""

from __future__ import annotations

import logging
import os
import uuid
from types import TracebackType
from typing import Any

from ecm.evidence.config import EvidenceConfig

ACCESS_KEY = "AKIDECMTESTS"
SECRET_KEY = "s3cr3t/of+the-tests-0123456789abcdef"
REGION = "us-east-1"
PAGE = 60
"""Keys a page of a listing: few, so that every reader must ask for more."""


class ObjectServer:
    """Start it with `with`. `endpoint` is its address, `client` a boto3 client of it."""

    def __enter__(self) -> ObjectServer:
        from moto.server import ThreadedMotoServer

        os.environ.setdefault("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self.client = self._client()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"ecm-{uuid.uuid4().hex[:16]}"
        self.client.create_bucket(Bucket=name)
        return name

    def config(self, uri: str = "", endpoint: str = "", **settings: Any) -> EvidenceConfig:
        """Settings of a store in a bucket of its own, or at `uri`, reached through `endpoint`."""
        options = {
            "endpoint": endpoint or self.endpoint,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "region": REGION,
        }
        place = uri or f"s3://{self.bucket()}/a store"
        return EvidenceConfig(uri=place, storage_options=options, **settings)

    def keys(self, bucket: str) -> list[str]:
        """Every key of a bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )
