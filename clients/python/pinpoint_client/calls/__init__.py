"""Calls and flows of the API without I/O; both clients send them."""
