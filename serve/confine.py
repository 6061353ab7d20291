"""Which files callers may have read: those below the profile's roots, whatever links lie between.

Knows URIs and the file system's links; opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from ecm.contracts.identity import path_uri, uri_path
from ecm.errors import SourceError
from ecm.images.objects import is_object_uri, root_uri

_FILE = "file://"


class Roots:
    """The roots of a profile, as HTTP callers are held to them.

    Without roots nothing may be named in a service that has keys: its callers are others, and a
    path of theirs would be read with the rights of the service. `trusting` tells whether it has no
    keys now, so that its caller is the one who started it.
    """

    def __init__(self, roots: Sequence[str], trusting: Callable[[], bool]) -> None:
        self._roots = tuple(
            _place(root if "://" in root else os.path.abspath(root)) for root in roots
        )
        self._trusting = trusting

    def confine(self, uris: Iterable[str]) -> list[str]:
        """The resources by their canonical URIs.

        Raises SourceError `source.root` for the first that may not be read, `source.scheme` for
        what is neither a local path nor on an object store.
        """
        return [self._confined(uri) for uri in uris]

    def check(self, uris: Iterable[str]) -> None:
        """The same for what is stored as it is sent: where roots confine, in canonical form only.

        Raises SourceError, `source.form` for a URI that is not its own canonical one.
        """
        for uri in uris:
            if self._confined(uri) != uri and not self._any:
                raise SourceError(
                    f"{uri} is not the canonical URI of a resource",
                    "source.form",
                    "follow links, resolve . and .. and escape as in file:///a%20b",
                )

    @property
    def _any(self) -> bool:
        return not self._roots and self._trusting()

    def _confined(self, uri: str) -> str:
        place = _place(uri)
        if self._any or any(place.startswith(root.rstrip("/") + "/") for root in self._roots):
            return place
        raise SourceError(
            f"{uri} is not below the roots of this service",
            "source.root",
            "see roots in its profile",
        )


def _place(uri: str) -> str:
    """The canonical URI of a path or URI, with its links followed. Raises SourceError."""
    if "\0" in uri:
        raise SourceError("a name with a zero character", "source.scheme")
    if is_object_uri(uri):
        if {".", ".."} & set(root_uri(uri).split("/")):
            raise SourceError(f"{uri}: a key with . or .. in it", "source.root")
        return uri
    path = uri_path(uri) if uri.startswith(_FILE) else uri
    if not path.startswith("/") or "\0" in path:
        raise SourceError(f"not a resource: {uri!r}", "source.scheme", "write file:/// or s3://")
    return path_uri(os.path.realpath(path))
