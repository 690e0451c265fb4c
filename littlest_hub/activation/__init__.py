"""`enable` and `disable` of stacks: planned, then done as a whole or not at all."""
