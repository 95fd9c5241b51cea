"""How Alembic runs these migrations: on the connection, and in the transaction, of `migration.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    version_table_schema="bennu",
)
context.run_migrations()
