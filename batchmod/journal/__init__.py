"""What was done: append-only, durable before the next thing happens."""
