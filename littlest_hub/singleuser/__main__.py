"""`python -m littlest_hub.singleuser`: see `littlest_hub.singleuser`."""

from littlest_hub.singleuser import main, packages

if __name__ == "__main__":
    packages.use()
    main()
