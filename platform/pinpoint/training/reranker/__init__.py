"""Reranker."""
