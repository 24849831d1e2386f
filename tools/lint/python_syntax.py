#!/usr/bin/env python3
"""Compiles the Python files it is given, writing nothing: a syntax error is found by lint, not by
whoever runs the script first. usage: python_syntax.py FILE...
"""
import sys

failed = 0
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        try:
            compile(file.read(), name, "exec")
        except SyntaxError as error:
            print(f"{name}:{error.lineno}: {error.msg}")
            failed = 1
sys.exit(failed)
