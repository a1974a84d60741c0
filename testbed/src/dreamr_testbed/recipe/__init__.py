"""Recipe of the bundled pair: training from random weights, and evaluation."""
