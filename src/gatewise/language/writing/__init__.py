"""The equations of a cell written out: one reading (`equations`), a small writer for each format."""
