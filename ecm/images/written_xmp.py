"""Titles, descriptions, subjects and the time of taking in an XMP packet, which expat streams.

No document type, hence no entities; no more than so many elements and levels; a packet that is
malformed anywhere says nothing. Source: ISO 16684-1 (XMP), ISO 16684-2, Dublin Core 1.1.
"""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

from ecm.contracts.result import WrittenKind
from ecm.images.written_words import MAX_BLOCK, MAX_TEXT_BYTES, Said

_DC: Final = "http://purl.org/dc/elements/1.1/ "
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_KINDS: Final = {
    f"{_DC}title": WrittenKind.TITLE,
    f"{_DC}description": WrittenKind.DESCRIPTION,
    f"{_DC}subject": WrittenKind.KEYWORD,
    "http://ns.adobe.com/exif/1.0/ DateTimeOriginal": WrittenKind.TAKEN,
    "http://ns.adobe.com/photoshop/1.0/ DateCreated": WrittenKind.TAKEN,
}
_MAX_ELEMENTS: Final = 20_000
_MAX_DEPTH: Final = 64
_MAX_WORDS: Final = 500


def xmp_words(block: bytes) -> list[Said]:
    """The words of a packet, each language of a title; none of a malformed one. Never raises."""
    packet = block.strip(b"\0 \t\r\n")
    if not packet or len(packet) > MAX_BLOCK:
        return []
    try:
        return _Packet().read(packet)
    except (_Refused, expat.ExpatError, ValueError, LookupError):
        return []  # such a packet says nothing; the picture is none the worse for it


class _Refused(Exception):
    """The packet has what no packet needs."""


class _Packet:
    """What has been met on the way through a packet."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.ExternalEntityRefHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._path: list[str] = []
        self._elements = 0
        self._kind: WrittenKind | None = None
        self._words: list[str] = []
        self._size = 0
        self._said: list[Said] = []

    def read(self, packet: bytes) -> list[Said]:
        self._parser.Parse(packet, True)
        return self._said

    def _refuse(self, *_: object) -> int:
        raise _Refused

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._path.append(name)
        if self._elements > _MAX_ELEMENTS or len(self._path) > _MAX_DEPTH:
            raise _Refused
        if name in _KINDS:
            self._kind = _KINDS[name]
            self._words, self._size = [], 0
        elif name == f"{_RDF}li":
            self._words, self._size = [], 0
        elif name == f"{_RDF}Description":
            for attribute, text in attributes.items():
                if attribute in _KINDS:
                    self._add(_KINDS[attribute], text[:MAX_TEXT_BYTES])

    def _text(self, text: str) -> None:
        if self._kind is not None and self._size < MAX_TEXT_BYTES:
            self._words.append(text[: MAX_TEXT_BYTES - self._size])
            self._size += len(text)

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._kind is not None and (name == f"{_RDF}li" or name in _KINDS):
            self._add(self._kind, "".join(self._words))
            self._words, self._size = [], 0
        if name in _KINDS:
            self._kind = None

    def _add(self, kind: WrittenKind, text: str) -> None:
        if text.strip() and len(self._said) < _MAX_WORDS:
            self._said.append((kind, text))
