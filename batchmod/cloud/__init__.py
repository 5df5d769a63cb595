"""The network: signing, credentials, endpoints, calls, and what each kind of change says over the wire."""
