"""An engine that draws: another program, in an interpreter of its own, that is given the weights after each update."""
