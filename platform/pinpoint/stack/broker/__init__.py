"""The broker of tasks: Redis or RabbitMQ, its queues, the sender and dead letters."""
