"""How fast an account comes in: into an empty workspace, the same again, and against what bounds it.

.venv/bin/python -m tests.benchmarks.import_speed [ENTRIES]
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal

import httpx

from tests.benchmarks.setting import connected_workspace, harvest, headers, import_everything, servers


def floor(address: str) -> tuple[float, int]:
    """The same pages by httpx and json, straight into one plain table by COPY: nothing can be much faster."""
    from django.db import connection, transaction

    count = 0
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_floor (id bigint PRIMARY KEY, spent date, hours numeric, notes text)"
        )
    url: str | None = f"{address}/v2/time_entries?per_page=2000"
    with httpx.Client(headers=headers(), timeout=60) as client:
        while url:
            page = json.loads(client.get(url).content, parse_float=Decimal)
            url = page["links"]["next"]
            with transaction.atomic(), connection.cursor() as cursor:
                with cursor.copy("COPY bench_floor FROM STDIN") as copy:
                    for row in page["time_entries"]:
                        copy.write_row((row["id"], row["spent_date"], row["hours"], row["notes"]))
                count += len(page["time_entries"])
    seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_floor")
    return seconds, count


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with servers(), harvest(entries) as address:
        connection = connected_workspace(address)
        cold, first = import_everything(connection)
        warm, second = import_everything(connection)
        least, count = floor(address)
    assert first["imported"] == count == entries, first
    assert second["imported"] == 0
    print(f"{entries:,} entries")
    print(f"  into an empty workspace  {cold:7.2f} s  {entries / cold:9,.0f} a second")
    print(f"  the same window again    {warm:7.2f} s  {entries / warm:9,.0f} a second")
    print(f"  httpx + json + COPY      {least:7.2f} s  {entries / least:9,.0f} a second")
    print(f"  of that floor: {least / cold:.2f}")


if __name__ == "__main__":
    main()
