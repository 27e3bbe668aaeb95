"""Figures as tables."""
from __future__ import annotations
import json
from rich.console import Console

def show(figures):
    Console().print(json.dumps(figures, indent=1))
