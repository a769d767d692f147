"""Processes to kill: reads lines `WORKSPACE RUN` or `WORKSPACE push`, and for each forks one
that works on that run, or sends what is due, and prints its pid.

`python -m tests.harvest.victims`, with the database and Harvest in the environment. Forking from one process that has
loaded everything costs a tenth of starting each anew.
"""

from __future__ import annotations

import os
import sys
from uuid import UUID


def main() -> None:
    import django

    django.setup()
    from django.conf import settings

    from harvest.importing import execute_run
    from harvest.pushing import drain

    settings.HARVEST_PAGE_SIZE = int(os.environ["HARVEST_PAGE_SIZE"])
    for line in sys.stdin:
        workspace, what = line.split()
        pid = os.fork()
        if pid == 0:
            if what == "push":
                drain(workspace_id=UUID(workspace))
            else:
                execute_run(workspace_id=UUID(workspace), run_id=UUID(what))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
