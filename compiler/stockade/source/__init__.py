"""Room `source`: reads YAML into a located tree and builds the model, or says what is wrong and where."""
