"""What a step of a cell is made of and in what order it is computed: no instructions yet."""
