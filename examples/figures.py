"""Draw the pictures of docs/figures.md, by the code that stands there.

Run: python examples/figures.py [FOLDER]
"""

import doctest
import re
import sys
from pathlib import Path

from PIL import Image

from gatewise import figures

PAGE = Path(__file__).parents[1] / "docs" / "figures.md"
PICTURE = re.compile(r"\(images/figures/(\w+\.png)\)")


def main(folder=PAGE.parent / "images" / "figures"):
    """Run the page; where it shows a picture, write the figure that was drawn last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for part in doctest.DocTestParser().parse(PAGE.read_text(encoding="utf-8")):
        if isinstance(part, doctest.Example):
            exec(compile(part.source, PAGE.name, "single"), names)
        else:
            for name in PICTURE.findall(part):
                figures.save_figure(names["figure"], folder / name, dpi=90)
                Image.open(folder / name).convert("RGB").quantize(256).save(folder / name, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
