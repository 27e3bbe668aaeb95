"""Mathematics on the Earth: positions, distances, cells, regions. Numpy only, no I/O.

Arrays of positions are `[..., 2]` float64: latitude, longitude in degrees (WGS84).
"""
