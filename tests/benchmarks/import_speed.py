"""How fast an account comes in: into an empty workspace, the same again, and against what bounds it.

.venv/bin/python -m tests.benchmarks.import_speed [ENTRIES ...]

With several numbers, a line for each. The last lines compare: with httpx, json and COPY into one plain table, and with
tap-harvest, which reads the same entries, here to nowhere (it is left out where its environment cannot be made).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from harvest.sandbox import CLIENT_ID, CLIENT_SECRET
from tests.benchmarks.setting import (
    ACCOUNT,
    connected_workspace,
    harvest,
    headers,
    import_everything,
    servers,
)

AGENT = "Timebridge benchmark (bench@timebridge.example)"


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


def tap(address: str) -> float | None:
    """Seconds that tap-harvest takes to read every time entry, its start aside; None where it cannot be had."""
    from tests.harvest.tap import LAUNCH, environment

    try:
        python = environment()
    except subprocess.CalledProcessError:
        return None
    callback = {"client_id": CLIENT_ID, "redirect_uri": "http://localhost/callback", "response_type": "code"}
    answer = httpx.post(
        f"{address}/oauth2/authorize", data={**callback, "decision": "allow", "account": ACCOUNT}
    )
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    given = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    token = httpx.post(
        f"{address}/api/v2/oauth2/token",
        headers={"User-Agent": AGENT},
        data={**given, "grant_type": "authorization_code", "code": code},
    ).json()["refresh_token"]
    with tempfile.TemporaryDirectory() as directory:
        config, catalog = Path(directory, "config.json"), Path(directory, "catalog.json")
        settings = {**given, "refresh_token": token, "user_agent": AGENT}
        config.write_text(json.dumps({**settings, "start_date": "2001-01-01T00:00:00Z"}))
        command = [
            str(python),
            "-W",
            "ignore",
            str(LAUNCH),
            f"{address}/v2",
            address,
            "--config",
            str(config),
        ]
        began = time.perf_counter()
        found = json.loads(subprocess.run([*command, "--discover"], check=True, capture_output=True).stdout)
        start = time.perf_counter() - began
        for stream in found["streams"]:
            for part in stream["metadata"]:
                part["metadata"]["selected"] = stream["stream"] == "time_entries"
        catalog.write_text(json.dumps(found))
        began = time.perf_counter()
        subprocess.run(
            [*command, "--catalog", str(catalog)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - began - start


def main() -> None:
    sizes = [int(one) for one in sys.argv[1:]] or [100_000]
    compared: list[str] = []
    with servers():
        for entries in sizes:
            with harvest(entries) as address:
                connection = connected_workspace(address)
                cold, first = import_everything(connection)
                warm, second = import_everything(connection)
                assert first["imported"] == entries, first
                assert second["imported"] == 0
                print(
                    f"{entries:>9,} entries: {entries / cold:7,.0f} a second into an empty workspace"
                    f" ({cold / entries * 1e6:.0f} µs each), {entries / warm:7,.0f} the same again"
                    f" ({warm / entries * 1e6:.0f} µs)"
                )
                if entries == sizes[-1]:
                    least, count = floor(address)
                    assert count == entries
                    compared.append(
                        f"httpx + json + COPY: {entries / least:,.0f} a second; {least / cold:.2f} of it"
                    )
                    if (foreign := tap(address)) is None:
                        compared.append("tap-harvest is not to be had here")
                    else:
                        pace = entries / foreign
                        compared.append(f"tap-harvest: {pace:,.0f} a second; {foreign / cold:.1f} times that")
    print("\n".join(compared))


if __name__ == "__main__":
    main()
