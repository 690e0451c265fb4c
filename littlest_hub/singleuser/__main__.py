"""`python -m littlest_hub.singleuser`: see the package."""

from littlest_hub.singleuser import main

if __name__ == "__main__":
    main()
