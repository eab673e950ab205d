"""What work in bulk costs beside what it cannot do without; see `__main__`."""
