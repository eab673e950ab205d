"""Preparation by the workers of Apache Beam; its modules need the extra `beam`."""
