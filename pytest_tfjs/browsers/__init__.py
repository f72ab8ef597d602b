"""Runs jobs in real browsers: targets, TF.js's bundles, server, launcher, job protocol."""
