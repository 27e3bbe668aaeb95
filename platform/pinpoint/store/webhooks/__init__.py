"""Webhooks: endpoints with encrypted secrets, and the outbox of deliveries."""
