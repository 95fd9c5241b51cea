"""Generated from proto/bank/v1: the bank example's published language."""
