#!/bin/sh
# Makes .venv and installs gatewise into it with the extras given (default: tasks), at the tested versions.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m venv .venv
if [ "$(uname)" = Linux ]; then
  # PyPI's torch for Linux brings gigabytes of CUDA; the CPU build comes from torch's own index.
  .venv/bin/pip install --quiet --retries 1 --no-deps --constraint constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu torch
fi
.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[${1:-tasks}]"
