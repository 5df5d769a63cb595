"""What to do next. Declares the Protocols it needs; knows no network, no disk."""
