"""What the HTML pages of the package have in common: embedded data, and a policy that allows one script."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from typing import Any


def embedded(data: Any) -> str:
    """JSON that cannot close the HTML element around it, whatever text it contains.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):x}", text)  # halves of characters
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def source(script: str) -> str:
    """The hash source expression that allows a script (Content Security Policy, Level 3)."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode('ascii')}'"
