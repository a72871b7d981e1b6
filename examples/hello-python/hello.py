#!/usr/bin/env python3
"""Greets whoever is named on the command line, and tells what the jar shows."""

import os
import sys

LICENSES = "/usr/share/common-licenses"

name = sys.argv[1] if len(sys.argv) > 1 else "world"
print(f"Hello, {name}, from uid {os.getuid()} in {os.getcwd()}.")
print("Processes that I see:", sorted(int(p) for p in os.listdir("/proc") if p.isdigit()))
if os.path.isdir(LICENSES):
    print(f"Licenses that I may read: {len(os.listdir(LICENSES))}")
else:
    print("I was not given the licenses, and can do without.")
