"""A typed client of the search service: questions, answers, feedback, and errors by what to do.

    from ecm.client import Client, where

    with Client("http://127.0.0.1:8000", api_key=key) as ecm:
        found = ecm.search("a dog on the beach", filter=where.width(at_least=1000))

Needs httpx and pydantic; loads neither Ray nor torch nor Lance.
"""

from ecm.client import where
from ecm.client.asking import Found, Question, asset_example, example, question
from ecm.client.asynchronous import AsyncClient
from ecm.client.blocking import Client
from ecm.client.errors import (
    Busy,
    ClientError,
    Failed,
    Garbled,
    NoAnswer,
    NotAllowed,
    NotThere,
    OutOfDate,
    Refused,
)
from ecm.client.retrying import Retries

__all__ = [
    "AsyncClient",
    "Busy",
    "Client",
    "ClientError",
    "Failed",
    "Found",
    "Garbled",
    "NoAnswer",
    "NotAllowed",
    "NotThere",
    "OutOfDate",
    "Question",
    "Refused",
    "Retries",
    "asset_example",
    "example",
    "question",
    "where",
]
