"""How do people ask? Three doors to the same questions: HTTP, command line, Python.

`questions.py` names each question once; the doors share its parameters, its answer and the shape
of that answer. Nothing is computed here: `answers/` calls `forensics` and `ingest`.
"""
