"""The commands on finished runs: those that compare them, and those that make one run of others."""
