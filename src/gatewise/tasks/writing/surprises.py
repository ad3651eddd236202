"""A scored text as a page with colours, and as a table."""

from __future__ import annotations

import csv
import io
from html import escape

from gatewise.runtime.jobs.units import readable
from gatewise.runtime.jobs.writer import Scored

SURPRISING = 10.0  # bits with the full colour
_STYLE = (
    "body{font:15px/1.6 ui-monospace,monospace;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222;"
    "background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}"
    "span{border-radius:2px}h1{font:bold 1.2rem sans-serif}p{font-family:sans-serif;color:#555}"
)


def surprise_page(scored: Scored, title: str, unit: str) -> str:
    """A page in HTML: the more surprising a token, the stronger its colour. Tooltips say the details.

    `unit` is what the tokens are.
    """
    spans = [
        f'<span style="background:rgba(213,94,0,{min(bits / SURPRISING, 1):.2f})" title="{_told(scored, n)}">'
        f"{_shown(token)}</span>"
        for n, (token, bits) in enumerate(
            zip(readable(scored.tokens, unit), scored.bits.tolist(), strict=True)
        )
    ]
    said = (
        f"{scored.bits_per_character:.3f} bits per character. The stronger the colour, the less expected: "
        f"1 bit is one of two possibilities, {SURPRISING:g} bits or more one of a thousand. "
        "Point at a token to see its probability."
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{said}</p><pre>{''.join(spans)}</pre></html>\n"
    )


def surprise_table(scored: Scored) -> str:
    """A table in CSV with a row for each token: its place, its probability, what was expected."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["position", "line", "column", "token", "log_probability", "bits", "expected", "confidence"]
    )
    line, column = 1, 1
    rows = zip(
        scored.tokens, scored.log_probabilities.tolist(), scored.bits.tolist(), scored.expected,
        scored.confidence.tolist(), strict=True,
    )  # fmt: skip
    for n, (token, log_probability, bits, expected, confidence) in enumerate(rows):
        writer.writerow(
            [n, line, column, token, repr(log_probability), f"{bits:.4f}", expected, f"{confidence:.4f}"]
        )
        line, column = (line + 1, 1) if token == "\n" else (line, column + len(token))
    return out.getvalue()


def _told(scored: Scored, n: int) -> str:
    own = f"{scored.tokens[n]!r}: {2 ** -float(scored.bits[n]):.3g}"
    return escape(f"{own}; expected {scored.expected[n]!r}: {scored.confidence[n]:.2f}")


def _shown(token: str) -> str:
    return escape(token).replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n")
