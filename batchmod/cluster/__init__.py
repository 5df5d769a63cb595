"""One campaign on many machines: who works on what, and who may write of it."""
