"""The command line: it reads arguments, calls the library, prints what comes back."""
