"""The environment that a repository asks for, judged from its files alone; nothing of it runs."""
