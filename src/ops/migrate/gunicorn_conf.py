"""Runs a gunicorn.conf.py, as gunicorn does, and prints the settings that it defines as JSON."""

import json
import runpy
import sys

values = {}
for name, value in runpy.run_path(sys.argv[1], {"__name__": "__config__"}).items():
    if name.startswith("_") or value is None or type(value).__name__ == "module":
        continue
    if callable(value):
        values[name] = ["<function>"]
    elif name == "umask" and isinstance(value, int):
        values[name] = [f"0{value:o}"]
    elif isinstance(value, bool):
        values[name] = ["true" if value else "false"]
    elif isinstance(value, (list, tuple)):
        values[name] = [str(item) for item in value]
    elif isinstance(value, int):
        # Members of enumerations, such as ssl.CERT_REQUIRED, are numbers as well.
        values[name] = [str(int(value))]
    elif isinstance(value, (str, float)):
        values[name] = [str(value)]
    else:
        values[name] = [repr(value)]
print(json.dumps(values))
