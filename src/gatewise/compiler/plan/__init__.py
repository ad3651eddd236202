"""The parts of a step of a cell and the order in which they are computed, without instructions."""
