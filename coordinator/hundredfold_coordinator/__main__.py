"""`python -m hundredfold_coordinator`: the command line."""

from hundredfold_coordinator.cli import main

if __name__ == "__main__":
    main()
