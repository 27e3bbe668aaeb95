"""Database foundation: connections, tables, conversions and API keys."""
