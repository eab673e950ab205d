"""The two texts about flags: files that give them, and the help that explains them."""
