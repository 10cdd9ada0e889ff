"""Room `cli`: one thin module per command."""
