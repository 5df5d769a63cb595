"""The composition root: the only part that knows all the others. One module per group of commands."""
