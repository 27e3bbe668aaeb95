"""Requests to servers that users name: every URL, address, redirect and byte is checked."""
