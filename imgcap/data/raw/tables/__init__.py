"""Readers of people's own tables, which have columns of any names: CSV, JSON lines, Parquet."""
