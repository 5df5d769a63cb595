"""A small Alibaba Cloud on loopback. Imports nothing from the rest of batchmod."""
