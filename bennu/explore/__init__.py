"""Exploring a saga: every order in which things can happen to it, with faults, on the code that runs in production."""
