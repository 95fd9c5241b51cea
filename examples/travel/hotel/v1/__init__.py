"""Generated from proto/travel/hotel/v1: a language of the travel example."""
