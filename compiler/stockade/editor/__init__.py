"""The policy language in an editor: faults while typing, completion, what a name grants, where it is declared."""
