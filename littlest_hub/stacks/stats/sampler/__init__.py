"""The program that counts and measures: every minute it asks the hub, and reads the cgroups."""
