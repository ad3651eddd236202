"""Reads the bytes of users' files as tables of numbers and texts.

How numbers are to be read is decided by all values of the file. If several ways are possible, the file is
refused with a message that names the option to set.

Modules from low to high: `content` (bytes), `delimited` (fields), `numbers`, `table` (columns).
"""
