"""batchmod changes whole fleets of ApsaraDB for Redis / Tair instances."""
