"""Judging a host: facts with provenance, rules as data, a pure judge, reports."""
