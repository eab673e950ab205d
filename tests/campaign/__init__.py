"""Campaigns: hundreds of random attempts to break commands, server and page.

One module a campaign, with a short form of seconds in a test beside it. The long forms are run by
`python -m tests.campaign NAME [--size=N] [--seed=S]` or `make campaign NAME=…`.
"""
