"""Which names are taken for images, and why the others are not. Pure: knows names, reads nothing.

A name only admits a file to decoding; what it is, its content decides (`signature`). Reasons are
short codes that end in reports, kept stable.
"""

from __future__ import annotations

IMAGE_EXTENSIONS = frozenset(
    {
        *("jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "mpo"),
        *("png", "apng", "gif", "webp", "tif", "tiff", "bmp", "dib"),
        *("avif", "avifs", "heic", "heics", "heif", "heifs", "hif"),
        *("jp2", "j2k", "jpf", "jpx", "j2c", "jpc", "ico", "icns"),
        *("ppm", "pgm", "pbm", "pnm", "tga", "pcx", "dds", "sgi", "rgb", "bw", "qoi"),
    }
)
"""Extensions of formats that are decoded, lower case."""

_UNSUPPORTED = frozenset(
    {
        *("svg", "svgz", "eps", "ps", "pdf", "ai", "psd", "psb", "xcf", "jxl", "wmf", "emf"),
        *("cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "dng", "orf", "rw2", "raf"),
        *("pef", "srw", "x3f", "raw", "exr", "hdr", "fits", "dcm"),
    }
)
_PARTIAL = frozenset({"part", "partial", "crdownload", "download", "filepart", "tmp", "temp"})
_SIDECARS = frozenset({"xmp", "json", "aae", "thm", "pp3", "dop", "xml", "ini", "txt", "md5"})
_BACKUPS = frozenset({"bak", "orig", "old", "swp"})
_SYSTEM_FILES = frozenset(
    {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".picasa.ini", ".nomedia", "icon\r"}
)
_THUMBNAIL_FOLDERS = frozenset({"@eadir", ".thumbnails", ".thumbs", ".@__thumb"})
_TRASH_FOLDERS = frozenset({"$recycle.bin", "#recycle", "@recycle", ".trashes", ".recycle"})


def folder_reason(name: str) -> str | None:
    """Why files below a folder of this name are passed over, or None when they are not.

    >>> folder_reason("@eaDir"), folder_reason(".Trash-1000"), folder_reason("holidays")
    ('thumbnail_folder', 'trash_folder', None)
    """
    lower = name.lower()
    if lower in _THUMBNAIL_FOLDERS:
        return "thumbnail_folder"
    if lower in _TRASH_FOLDERS or lower.startswith(".trash"):
        return "trash_folder"
    if lower == "__macosx":
        return "archive_leftovers"
    return "hidden_folder" if name.startswith(".") else None


def file_reason(name: str) -> str | None:
    """Why a file of this name is passed over, or None when it is admitted.

    `no_extension` asks for a look at the first bytes.

    >>> file_reason("PHOTO.JPEG"), file_reason("photo.jpg.part"), file_reason("._photo.jpg")
    (None, 'partial_download', 'apple_double')
    >>> file_reason("IMG_0001"), file_reason("notes.docx")
    ('no_extension', 'not_an_image_name')
    """
    lower = name.lower()
    if lower in _SYSTEM_FILES:
        return "system_file"
    if name.startswith("._"):
        return "apple_double"
    if name.startswith("."):
        return "hidden"
    if name.endswith("~"):
        return "backup"
    stem, dot, extension = lower.rpartition(".")
    if not dot or not stem or not extension:
        return "no_extension"
    return None if extension in IMAGE_EXTENSIONS else _extension_reason(extension)


def _extension_reason(extension: str) -> str:
    for extensions, reason in (
        (_PARTIAL, "partial_download"),
        (_SIDECARS, "sidecar"),
        (_BACKUPS, "backup"),
        (_UNSUPPORTED, "unsupported_format"),
    ):
        if extension in extensions:
            return reason
    return "not_an_image_name"
