"""What a table of timings must say of where they were taken."""

import datetime
import os
import platform
from pathlib import Path


def machine():
    """The processor, as far as the system names it, its cores, the Python, and the date."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    today = datetime.date.today().isoformat()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, {today}"
