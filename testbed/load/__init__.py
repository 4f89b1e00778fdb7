"""The open-model load generator: planned arrivals, seeded requests, and the client that sends them."""
