"""Generated from proto/travel/car/v1: a language of the travel example."""
