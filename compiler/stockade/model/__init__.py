"""Room `model`: what a policy is; frozen values, no I/O, standard library only."""
