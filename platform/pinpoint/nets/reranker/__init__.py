"""The reranker: input features, network and the ranker of a bundle."""
