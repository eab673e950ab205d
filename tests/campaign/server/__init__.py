"""Campaigns on the server: hostile requests, hot swaps, an hour under load."""
