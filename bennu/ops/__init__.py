"""The skeleton that all services share: settings, logging, metrics, the operations port, the supervisor."""
