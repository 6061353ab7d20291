"""What people wrote into files: read from every standard, bounded, and never to anybody's harm."""

from __future__ import annotations

import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.result import MAX_WRITTEN
from ecm.images.decode import decode
from ecm.images.limits import ImageLimits
from ecm.images.written import MOST, MOST_CHARACTERS, written
from tests.written_files import (
    chunk,
    exif,
    file_of,
    iptc,
    segment,
    spliced,
    with_chunks,
    xmp,
)

XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
RICH = exif(
    "A day at the lake",
    "2021:05:03 10:11:12",
    "+02:00",
    b"ASCII\0\0\0a remark",
    "Seetag",
    "See;Schwan",
)


def said(data: bytes) -> set[tuple[str, str, str]]:
    return {(each.kind.value, each.source.value, each.text) for each in written(data)}


def texts(data: bytes) -> list[str]:
    return [each.text for each in written(data)]


IN_EXIF = {
    ("description", "exif", "A day at the lake"),
    ("title", "exif", "Seetag"),
    ("keyword", "exif", "See"),
    ("keyword", "exif", "Schwan"),
    ("comment", "exif", "a remark"),
    ("taken", "exif", "2021-05-03T10:11:12+02:00"),
}
IN_XMP = {
    ("title", "xmp", "Swans"),
    ("description", "xmp", "Two & a half swans"),
    ("keyword", "xmp", "swan"),
    ("keyword", "xmp", "lake"),
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_exif_and_xmp_are_read_in_every_container(image_format: str) -> None:
    assert said(file_of(image_format, block=RICH, packet=xmp())) == IN_EXIF | IN_XMP


def test_a_tiff_is_a_block_itself() -> None:
    found = said(file_of("TIFF", block=RICH))
    assert found == {each for each in IN_EXIF if each[0] not in ("taken", "comment")}


def test_iptc_in_both_encodings_that_are_met() -> None:
    records = ((5, b"Z\xfcrich"), (105, "Zürich am See".encode()), (25, b"lake"), (25, b"lake"))
    data = spliced(file_of(), iptc(*records, (120, b"A caption"), (80, b"By Somebody")))
    assert said(data) == {
        ("title", "iptc", "Zürich"),
        ("title", "iptc", "Zürich am See"),
        ("keyword", "iptc", "lake"),
        ("description", "iptc", "A caption"),
    }


def test_comments_of_png_and_jpeg_but_not_of_programs() -> None:
    png = file_of("PNG", Title="日本", Description="a\u202ehidden", Software="GIMP", Comment="me")
    assert said(png) == {
        ("title", "png", "日本"),
        ("description", "png", "ahidden"),
        ("comment", "png", "me"),
    }
    assert texts(file_of(comment="for Ann")) == ["for Ann"]
    for machine in ("CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90", "AppleMark", "--"):
        assert texts(file_of(comment=machine)) == []
    assert texts(file_of(block=exif("OLYMPUS DIGITAL CAMERA         "))) == []


@pytest.mark.parametrize(
    ("taken", "offset", "text", "seconds"),
    [
        ("2021:05:03 10:11:12", "", "2021-05-03T10:11:12", 1620036672.0),
        ("2021:05:03 10:11:12", "-03:30", "2021-05-03T10:11:12-03:30", 1620049272.0),
        ("2021-05-03T10:11:12", "Z", "2021-05-03T10:11:12+00:00", 1620036672.0),
        ("1901:01:01 00:00:00", "", "1901-01-01T00:00:00", -2177452800.0),
    ],
)
def test_a_time_with_its_offset_or_taken_for_utc(
    taken: str, offset: str, text: str, seconds: float
) -> None:
    (found,) = written(file_of(block=exif(taken=taken, offset=offset)))
    assert (found.text, found.taken_at) == (text, seconds)


def test_a_time_in_a_packet_as_an_element_or_an_attribute() -> None:
    names = 'xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    packet = xmp(f"<exif:DateTimeOriginal {names}>2021-05-03T10:11+02:00</exif:DateTimeOriginal>")
    moment = ("taken", "xmp", "2021-05-03T10:11:00+02:00")
    assert said(file_of("WEBP", packet=packet)) == {moment}
    start = b"<rdf:Description "
    names = 'xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:DateCreated="2021-05-03T10:11+02:00" '
    packet = xmp().replace(start, start + names.encode())
    assert said(file_of("WEBP", packet=packet)) == IN_XMP | {moment}


@pytest.mark.parametrize(
    "taken",
    ["0000:00:00 00:00:00", "2021:13:40 10:11:12", "    :  :     :  :  ", "1:1", "soon"],
)
def test_a_time_that_is_none_is_not_said(taken: str) -> None:
    assert written(file_of(block=exif(taken=taken))) == ()


def test_a_unicode_comment_in_either_byte_order() -> None:
    for order in ("utf-16-le", "utf-16-be"):
        comment = b"UNICODE\0" + "grüner Hügel".encode(order)
        assert texts(file_of(block=exif(comment=comment))) == ["grüner Hügel"]


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "packet",
    [
        ENTITIES.encode() + xmp("<dc:title>&c;</dc:title>"),
        OUTSIDE.encode() + xmp("<dc:title>&a;</dc:title>"),
        ENTITIES.encode("utf-16") + xmp().decode().encode("utf-16-le"),
        xmp()[:-40],
        xmp("<dc:title>\x01</dc:title>"),
        b'<?xml version="1.0" encoding="no-such"?>' + xmp(),
        b"<a>" * 5_000,
        xmp("<dc:title>" + "<b>" * 100 + "deep" + "</b>" * 100 + "</dc:title>"),
        xmp("<b/>" * 15_000),
        b"\xff\xfe\0",
        b"not xml",
    ],
)
def test_a_hostile_packet_says_nothing_and_harms_nothing(packet: bytes) -> None:
    # A web picture holds any length; in a JPEG a packet ends with its segment.
    data = file_of("WEBP", block=exif("still here"), packet=packet)
    began = time.process_time()
    assert texts(data) == ["still here"]
    assert time.process_time() - began < 1
    assert decode(data, ImageLimits(), 8).width == 48


def test_text_that_inflates_without_end_is_left_out() -> None:
    bomb = zlib.compress(b"A" * (64 << 20), 9)
    png = with_chunks(
        file_of("PNG"),
        chunk(b"zTXt", b"Title\0\0" + bomb),
        chunk(b"iTXt", b"Description\0\x01\0\0\0" + bomb),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a remark")),
        chunk(b"zTXt", b"Title\0\0no stream"),
        chunk(b"iTXt", b"Title\0"),
    )
    began = time.process_time()
    assert texts(png) == ["a remark"]
    assert time.process_time() - began < 1


def test_there_is_an_end_to_what_one_file_says() -> None:
    many = [(25, b"word %d" % n) for n in range(2_000)]
    long = (120, b"long " * 6_000)
    data = spliced(file_of(block=RICH), iptc(*many), iptc(long))
    found = written(data)
    assert len(found) <= MOST
    assert sum(len(each.text) for each in found) <= MOST_CHARACTERS
    assert said(data) >= IN_EXIF
    full = exif(
        "d " * 1_000, "2021:05:03 10:11:12", "", b"ASCII\0\0\0" + b"c " * 1_000, "t " * 1_000
    )
    assert "taken" in {each.kind.value for each in written(file_of(block=full))}
    chunks = [chunk(b"tEXt", b"Comment\0" + b"word %d " % n * 1_000) for n in range(300)]
    found = written(with_chunks(file_of("PNG"), *chunks))
    assert 0 < len(found) <= MOST
    assert max(len(each.text) for each in found) <= MAX_WRITTEN
    assert sum(len(each.text) for each in found) <= MOST_CHARACTERS


def test_wrong_encodings_and_control_characters_are_words_or_nothing() -> None:
    noise = bytes(range(1, 32)) * 8
    assert texts(spliced(file_of(), segment(0xFE, b"abc" + noise))) == []
    assert texts(spliced(file_of(), segment(0xFE, b"\x1b[31mred\x07 alert\0 end, in colour"))) == [
        "[31mred alert end, in colour"
    ]
    assert texts(spliced(file_of(), segment(0xFE, "caf\u00e9".encode("utf-16-le")))) == []
    assert texts(spliced(file_of(), segment(0xFE, b"\xed\xa0\x80 \xff a long enough remark")))


_FILES = [
    spliced(file_of(block=RICH, packet=xmp(), comment="me"), iptc((25, b"lake"), (120, b"text"))),
    file_of("PNG", block=RICH, packet=xmp(), Title="a title"),
    file_of("WEBP", block=RICH, packet=xmp()),
    file_of("TIFF", block=RICH),
]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(_FILES),
    st.lists(st.tuples(st.integers(0, 1_500), st.binary(min_size=1, max_size=4)), max_size=8),
    st.integers(0, 3_000),
)
def test_no_damage_raises_anything(
    data: bytes, damage: list[tuple[int, bytes]], length: int
) -> None:
    raw = bytearray(data)
    for place, new in damage:
        raw[place : place + len(new)] = new
    for each in written(bytes(raw)[: max(length, 16)]):
        assert 0 < len(each.text) <= MAX_WRITTEN
    assert XMP_NAME not in b"".join(each.text.encode() for each in written(bytes(raw)))
