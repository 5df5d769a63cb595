"""Where passwords are made, kept and proved."""
