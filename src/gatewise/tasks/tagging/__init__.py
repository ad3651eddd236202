"""Tagging: a tag for each word of a sentence, in one or several columns."""
