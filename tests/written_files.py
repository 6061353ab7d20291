"""Image files with words in them, as cameras, editors and enemies write them."""

from __future__ import annotations

import io
import struct

from PIL import Image, PngImagePlugin

XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">{inside}</rdf:Description>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
SWANS = (
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Swans</rdf:li></rdf:Alt></dc:title>'
    "<dc:description><rdf:Alt><rdf:li>Two &amp; a half swans</rdf:li></rdf:Alt></dc:description>"
    "<dc:creator><rdf:Seq><rdf:li>Somebody</rdf:li></rdf:Seq></dc:creator>"
    "<dc:subject><rdf:Bag><rdf:li>swan</rdf:li><rdf:li>lake</rdf:li></rdf:Bag></dc:subject>"
)


def xmp(inside: str = SWANS) -> bytes:
    return XMP.format(inside=inside).encode()


def exif(
    description: str = "",
    taken: str = "",
    offset: str = "",
    comment: bytes = b"",
    xp_title: str = "",
    xp_keywords: str = "",
) -> Image.Exif:
    """An EXIF block; nothing is written of what is empty."""
    made = Image.Exif()
    texts = {0x010E: description, 0x013B: "Artist Nobody"}
    texts |= {0x9C9B: xp_title, 0x9C9E: xp_keywords}
    for tag, text in texts.items():
        if text:
            made[tag] = text if tag < 0x9000 else f"{text}\0".encode("utf-16-le")
    inner = made.get_ifd(0x8769)
    for tag, value in ((0x9003, taken), (0x9011, offset), (0x9286, comment)):
        if value:
            inner[tag] = value
    return made


def iptc(*records: tuple[int, bytes]) -> bytes:
    """A Photoshop segment of a JPEG with IPTC records of the application record."""
    data = b"".join(struct.pack(">BBBH", 0x1C, 2, n, len(t)) + t for n, t in records)
    other = b"8BIM" + struct.pack(">H", 0x03ED) + b"\0\0" + struct.pack(">I", 3) + b"abc\0"
    mine = b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(data)) + data
    body = b"Photoshop 3.0\0" + other + mine
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk; its checksum, which nobody asks of text, is zero."""
    return struct.pack(">I", len(body)) + kind + body + b"\0\0\0\0"


def file_of(
    image_format: str = "JPEG",
    colour: str = "red",
    block: Image.Exif | None = None,
    packet: bytes = b"",
    **texts: str,
) -> bytes:
    """A small picture; `texts` are PNG texts by keyword, `comment` the comment of a JPEG."""
    options: dict[str, object] = {} if block is None else {"exif": block}
    if image_format == "PNG":
        info = PngImagePlugin.PngInfo()
        for keyword, text in texts.items():
            info.add_itxt(keyword, text)
        if packet:
            info.add_itxt("XML:com.adobe.xmp", packet.decode())
        options["pnginfo"] = info
    else:
        options |= {"xmp": packet} if packet else {}
        options |= {"comment": texts["comment"].encode()} if texts else {}
    buffer = io.BytesIO()
    Image.new("RGB", (48, 40), colour).save(buffer, image_format, **options)
    return buffer.getvalue()


def spliced(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with segments of its own right after its beginning."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with chunks of its own after its header."""
    return png[:33] + b"".join(chunks) + png[33:]
