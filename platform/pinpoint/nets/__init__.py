"""Networks and what they need: preprocessing, towers, bundles, the encoder. torch lives here."""
