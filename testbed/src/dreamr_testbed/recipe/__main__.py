"""Entry point of `python -m dreamr_testbed.recipe`."""

from dreamr_testbed.recipe.train import main

if __name__ == "__main__":
    main()
