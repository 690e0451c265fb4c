"""Accounts of the machine for people who log in to the hub, and what they may do there."""
