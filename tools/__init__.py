"""Writers of tables in docs/, and of the prebuilt artifacts in fixtures/."""
