"""Generated from proto/bennu/v1: what the services say to each other and to clients."""
