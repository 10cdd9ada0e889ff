"""Room `prove`: promises and actions, decided on the source and on the compiled artefacts."""
