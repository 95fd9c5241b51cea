"""Codecs and conventions of what travels between the services."""
