"""Adapters: a file for each library, which calls its own functions. Each runs in that library's interpreter."""
