"""APIs of the gateway: what a request means, and what its response looks like. No I/O."""
