"""The two training steps of the paper and the command that runs a whole experiment."""
