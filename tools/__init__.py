"""Writers of the tables in docs/."""
