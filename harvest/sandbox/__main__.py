import argparse

from .options import add_options, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m harvest.sandbox", description="A Harvest to try things on."
    )
    add_options(parser)
    run(vars(parser.parse_args()))
