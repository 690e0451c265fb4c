"""Programs of root that do single things for the hub, which has no rights to do them itself."""
