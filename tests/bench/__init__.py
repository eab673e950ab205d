"""Benchmarks: what training, exports and serving cost beside what they cannot do without, and the
figures of the plan for many images.

`python -m tests.bench` measures all of it, `python -m tests.bench.export.agreement` compares the
captions of exported versions, `python -m tests.bench.scale` makes the tables of
docs/train/scale.md. All need the checkout as working directory.
"""
