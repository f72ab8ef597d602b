"""Running jobs in a real browser: targets, TF.js's bundles, the server, the launcher and the job protocol."""
