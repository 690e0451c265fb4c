"""From a repository and a ref to a commit and its files, whoever has written them."""
