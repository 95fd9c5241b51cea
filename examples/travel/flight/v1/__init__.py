"""Generated from proto/travel/flight/v1: a language of the travel example."""
