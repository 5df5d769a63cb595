"""What things are. No I/O but reading the manifest's own files."""
