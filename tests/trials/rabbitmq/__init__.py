"""A RabbitMQ server for the trials of quorum queues."""
