"""The lesson: recurrent networks from the first unit on, as a page in which the networks run and train."""
