"""The local server: routes, access, uploads and what a connection may ask."""
