"""What is measured: each module is a kind of run, with a function `measure` for one candidate."""
