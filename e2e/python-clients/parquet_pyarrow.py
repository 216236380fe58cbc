"""pyarrow: a Parquet file streamed up, and one column of some row groups read back by ranges.

usage: parquet_pyarrow.py
"""

import os
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet

from table import GROUP, ROWS, rows


def main() -> None:
    endpoint = urlsplit(os.environ["S3_ENDPOINT"])
    files = pyarrow.fs.S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
        scheme=endpoint.scheme,
        endpoint_override=endpoint.netloc,
        # pyarrow's own limit is 3 seconds, and a new cluster creates its pools during the first
        # upload.
        request_timeout=60,
    )
    path = f"{os.environ['S3_BUCKET']}/tables/pyarrow.parquet"
    table = pa.table(rows())
    with files.open_output_stream(path) as stream:
        pyarrow.parquet.write_table(
            table, stream, row_group_size=GROUP, compression="none", use_dictionary=False
        )
    with files.open_input_file(path) as opened:
        parquet = pyarrow.parquet.ParquetFile(opened)
        assert parquet.num_row_groups == ROWS // GROUP
        group = parquet.read_row_group(3, columns=["name"])
        assert group.equals(table.slice(3 * GROUP, GROUP).select(["name"]))
    dataset = pyarrow.dataset.dataset(path, filesystem=files)
    found = dataset.to_table(columns=["id", "payload"], filter=compute.field("id") == ROWS - 7)
    assert found.equals(table.slice(ROWS - 7, 1).select(["id", "payload"]))
    assert pyarrow.parquet.read_table(path, filesystem=files).equals(table)


if __name__ == "__main__":
    main()
