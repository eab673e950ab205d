"""What training and its data cost beside what they cannot do without; see `suite`.

Nothing is imported here: the worker processes that `bare` measures would pay for it.
"""
