"""A report as one HTML file: the same words and pictures, nothing fetched, nothing that runs.

The page is made of the Markdown, so that both say the same. HTML within the Markdown stays text, a
picture is shown only if it is one of the report's own, and the page forbids itself everything else.
Knows how pages look, in daylight, in the dark and on paper; knows no measure.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from markdown_it.token import Token

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--faint:#5f6368;--line:#d9dce0;
--band:#f6f7f9;--link:#0b57a4}
@media (prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#16181b;--faint:#a3a8ae;
--line:#3a3e44;--band:#1f2226;--link:#8ab8f0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:76rem;background:var(--paper);
color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
overflow-wrap:break-word}
h1{font-size:1.8rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.3rem;margin:2.6rem 0 .8rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1.08rem;margin:1.6rem 0 .6rem}
h4{font-size:1rem;margin:1.8rem 0 .4rem}
p,ul{margin:.6rem 0}p,li{max-width:50rem}li{margin:.25rem 0}
a{color:var(--link)}
code{font:.88em/1.4 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre{padding:.8rem 1rem;background:var(--band);border-radius:6px;overflow-x:auto;
white-space:pre-wrap}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;border-bottom:2px solid var(--line);vertical-align:bottom}
.right{text-align:right}
.whole{white-space:nowrap}
img{max-width:100%;height:auto;vertical-align:middle;border-radius:4px}
img.plot{display:block;margin:1rem 0;background:#fff;padding:.4rem;border:1px solid var(--line)}
nav{font-size:.9rem;color:var(--faint)}
th:empty{padding:0}
@page{size:A4 landscape;margin:12mm}
@media print{:root{--ink:#000;--paper:#fff;--faint:#444;--line:#bbb;--band:#f4f4f4}
body{max-width:none;padding:0;font-size:10pt}table{font-size:8pt}th,td{padding:.2rem .4rem}
h2,h3,h4{break-after:avoid}
table,img,pre{break-inside:avoid}.wide{overflow:visible}}
"""
_LARGE: Final = ".png"


def page_of(title: str, markdown: str, files: Mapping[str, bytes]) -> str:
    """The Markdown as a page that holds its pictures. `files` are those it may show, by name."""
    return framed_page(title, _body(markdown, files))


def framed_page(title: str, body: str) -> str:
    """A whole page around a body that is HTML already. `title` is text."""
    style = STYLE.strip()
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{fingerprint}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{body}</body>\n</html>\n"
    )


def inlined(name: str, data: bytes) -> str:
    """A picture as a data URI."""
    kind = "png" if name.endswith(_LARGE) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _body(markdown: str, files: Mapping[str, bytes]) -> str:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML

    class Renderer(RendererHTML):
        """Wide tables scroll in a frame of their own; pictures come from `files` alone."""

        def image(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
            name = str(tokens[place].attrs.get("src", ""))
            said = html.escape(tokens[place].content)
            if name not in files:
                return said
            kind = ' class="plot"' if name.endswith(_LARGE) else ""
            return f'<img{kind} src="{inlined(name, files[name])}" alt="{said}" title="{said}">'

        def table_open(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
            return '<div class="wide"><table>\n'

        def table_close(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
            return "</table></div>\n"

        def td_open(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
            return f"<td{_aligned(tokens[place])}>"

        def th_open(self, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:
            return f"<th{_aligned(tokens[place])}>"

    reader = MarkdownIt("commonmark", {"html": False}, renderer_cls=Renderer).enable("table")
    return str(reader.render(markdown))


def _aligned(token: Token) -> str:
    """A class for what Markdown asks by a style, which the page forbids."""
    return ' class="right"' if "right" in str(token.attrs.get("style", "")) else ""
