"""`python -m kerasseq`, the same as the command `kerasseq`."""

from kerasseq.command_line import main

if __name__ == "__main__":
    main()
