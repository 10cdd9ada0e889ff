"""Stockade: one policy source for SELinux, seccomp and cgroups, compiled, proven, enforced and audited."""

__version__ = "0.1.0"
