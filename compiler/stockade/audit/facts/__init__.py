"""Readers: what a host's kernel and image say, each fact as value, absent, unreadable or malformed."""
