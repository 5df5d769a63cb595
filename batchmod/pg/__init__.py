"""PostgreSQL, as journal, secret store and cluster know it: one URL, one schema, one kind of error."""
