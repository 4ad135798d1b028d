"""A stand-in for SGLang where there is no GPU: `python -m sglang.launch_server` with this folder on PYTHONPATH."""
