"""Networks, preprocessing, towers, bundles and the encoder. Only this package imports torch."""
