"""Rehearsals of the worst, on real parts: what an operator would do, done by a program that judges the outcome."""
