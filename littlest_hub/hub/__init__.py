"""The hub's unit: the supervisor, JupyterHub and our subclasses of its classes."""
