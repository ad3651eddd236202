"""A scored text as a page with colours, and as a table."""

from __future__ import annotations

import csv
import io
from html import escape

from gatewise.runtime.jobs.units import BYTES, readable, spelled
from gatewise.runtime.jobs.writer import Scored

SURPRISING = 10.0  # bits with the full colour
_STYLE = (
    "body{font:15px/1.6 ui-monospace,monospace;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#222;"
    "background:#fff}pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}"
    "span{border-radius:2px}h1{font:bold 1.2rem sans-serif}p{font-family:sans-serif;color:#555}"
)


def surprise_page(scored: Scored, title: str, unit: str) -> str:
    """A page in HTML: the more surprising a token, the stronger its colour. Tooltips say the details.

    `unit` is what the tokens are. The bytes of a character are shown together.
    """
    told = _told(scored, unit)
    spans, first, bits = [], 0, 0.0
    for n, (text, more) in enumerate(zip(readable(scored.tokens, unit), scored.bits.tolist(), strict=True)):
        bits += more
        if text:
            spans.append(
                f'<span style="background:rgba(213,94,0,{min(bits / SURPRISING, 1):.2f})" '
                f'title="{escape(chr(10).join(told[first : n + 1]))}">{_shown(text)}</span>'
            )
            first, bits = n + 1, 0.0
    said = (
        f"{scored.bits_per_character:.3f} bits per character. The stronger the colour, the less expected: "
        f"1 bit is one of two possibilities, {SURPRISING:g} bits or more one of a thousand. "
        "Point at a token to see its probability."
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{said}</p><pre>{''.join(spans)}</pre></html>\n"
    )


def surprise_table(scored: Scored, unit: str) -> str:
    """A table in CSV with a row for each token: its place, its probability, what was expected.

    `unit` is what the tokens are. A byte is shown as the character that it completes, or else as its number.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["position", "line", "column", "token", "log_probability", "bits", "expected", "confidence"]
    )
    line, column = 1, 1
    rows = zip(
        readable(scored.tokens, unit), spelled(scored.tokens, unit), scored.log_probabilities.tolist(),
        scored.bits.tolist(), spelled(scored.tokens, unit, scored.expected), scored.confidence.tolist(),
        strict=True,
    )  # fmt: skip
    for n, (text, token, log_probability, bits, expected, confidence) in enumerate(rows):
        writer.writerow(
            [n, line, column, token, repr(log_probability), f"{bits:.4f}", expected, f"{confidence:.4f}"]
        )
        line, column = (line + 1, 1) if text == "\n" else (line, column + len(text))
    return out.getvalue()


def in_quotes(token: str, unit: str) -> str:
    """What `spelled` gives, in quotes unless it is the number of a byte."""
    return token if unit == BYTES and len(token) > 1 else repr(token)


def _told(scored: Scored, unit: str) -> list[str]:
    """For each token, how likely it was and what was expected."""
    came, expected = spelled(scored.tokens, unit), spelled(scored.tokens, unit, scored.expected)
    chances = (2.0**-scored.bits).tolist()
    return [
        f"{in_quotes(own, unit)}: {chance:.3g}; expected {in_quotes(other, unit)}: {sure:.2f}"
        for own, chance, other, sure in zip(came, chances, expected, scored.confidence, strict=True)
    ]


def _shown(token: str) -> str:
    return escape(token).replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n")
