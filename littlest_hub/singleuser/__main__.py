"""`python -m littlest_hub.singleuser`: see `littlest_hub.singleuser`."""

from littlest_hub.singleuser import main

if __name__ == "__main__":
    main()
