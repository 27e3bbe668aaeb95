"""The vocabulary of the built-in bundle: how it is chosen and learned."""
