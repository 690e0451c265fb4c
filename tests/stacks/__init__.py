"""The acceptance of stacks, longer than `make test`: see `__main__`."""
