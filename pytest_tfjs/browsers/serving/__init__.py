"""The local server: routes, access control, uploads and the limits of connections."""
