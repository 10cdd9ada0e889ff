"""What others have as a container type in the policy language: engines, runtime specifications, seccomp profiles."""
