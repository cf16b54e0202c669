"""`python -m branch` is `stagekeeper-agent`."""

from branch.cli import main

if __name__ == "__main__":
    main()
