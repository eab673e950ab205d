"""How requests wait for the model: a bound on those inside, and batches."""
