"""What a migration, a dbt invocation or a list of names touched: SQL, artifacts and words -> ChangeSet."""
