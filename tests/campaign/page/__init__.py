"""Campaigns on the page: many sessions, hostile names and captions."""
