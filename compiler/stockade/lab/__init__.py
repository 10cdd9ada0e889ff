"""Room `lab`: a guest kernel that loads the compiled policy and says what it thinks of it."""
