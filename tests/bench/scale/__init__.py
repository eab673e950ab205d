"""The plan for many images: figures measured here, assumptions, and what follows from both."""
