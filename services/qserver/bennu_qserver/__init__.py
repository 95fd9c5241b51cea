"""QServer: projects the journals of an app into Postgres tables that people query."""
