"""Web services of stacks: the hub's login, in a process without rights that systemd starts.

The unit is `littlest_hub.units.stack.web_service`; a stack brings its handlers.
"""
