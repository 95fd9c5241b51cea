"""Generated from proto/travel/v1: a language of the travel example."""
