"""Benchmarks: what training, exports and serving cost beside what they cannot do without.

`python -m tests.bench` measures all of it, `python -m tests.bench.agreement` compares the captions
of exported versions. Both need the checkout as working directory.
"""
