"""What runs on the machine: the units of hub and proxy."""
