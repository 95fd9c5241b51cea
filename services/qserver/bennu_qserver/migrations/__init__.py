"""Versions of Bennu's own tables, for Alembic."""
