"""Every format is read back by pyarrow or GDAL and compared with SQL."""

from __future__ import annotations


def test_probe(gallery, tmp_path):
    import time

    with gallery.http() as http:
        for s in ("csv", "geojsons", "parquet", "fgb", "gpkg"):
            r = http.get(f"/v1/exports/images.{s}")
            print(time.time(), s, r.elapsed, r.status_code, r.headers, len(r.content), r.content[:300])
            (tmp_path / f"x.{s}").write_bytes(r.content)
        import pyarrow.parquet as pq

        print(pq.read_table(tmp_path / "x.parquet").slice(0, 2).to_pylist())
        import pyogrio

        for s in ("fgb", "gpkg", "geojsons"):
            print(pyogrio.read_info(tmp_path / f"x.{s}"))
        r = http.get("/v1/exports/images.parquet?geoparquet_version=2.0&embeddings=image")
        (tmp_path / f"y.parquet").write_bytes(r.content)
        print(
            r.status_code,
            pq.ParquetFile(tmp_path / "y.parquet").schema,
            pq.ParquetFile(tmp_path / "y.parquet").metadata.metadata,
        )
        print(gallery.query("select * from audit_log"))
        assert 0
