"""DuckDB: COPY writes a Parquet file in a multipart upload, and ranged reads query it in place.

The S3 extension comes from its package; nothing is downloaded at run time.

usage: parquet_duckdb.py
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extension_httpfs

from table import GROUP, ROWS

EXTENSION = Path(duckdb_extension_httpfs.__file__).parent / "extensions"


def main() -> None:
    database = duckdb.connect()
    extension = EXTENSION / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    database.execute(f"LOAD '{extension}'")
    endpoint = urlsplit(os.environ["S3_ENDPOINT"])
    database.execute(
        f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
        SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
        ENDPOINT '{endpoint.netloc}', URL_STYLE 'path', USE_SSL {endpoint.scheme == "https"})"""
    )
    url = f"s3://{os.environ['S3_BUCKET']}/tables/duckdb.parquet"
    database.execute(
        f"CREATE TABLE made AS SELECT range AS id, sha256('name' || range) AS name, "
        f"sha256('a' || range) || sha256('b' || range) AS payload FROM range({ROWS})"
    )
    database.execute(
        f"COPY made TO '{url}' (FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {GROUP})"
    )
    one = f"SELECT name FROM '{url}' WHERE id = {ROWS - 7}"
    expected = database.execute(f"SELECT name FROM made WHERE id = {ROWS - 7}").fetchall()
    assert database.execute(one).fetchall() == expected
    for one, other in ((f"'{url}'", "made"), ("made", f"'{url}'")):
        difference = database.execute(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})")
        assert difference.fetchone() == (0,)


if __name__ == "__main__":
    main()
